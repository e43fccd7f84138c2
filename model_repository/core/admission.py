"""Which requests are refused while there are more of them than a model can answer.

A model is not told how long a request has waited, so it marks its own queue: a *mark* is a request
that it sends to itself. What stands before a mark has waited longer than the mark, and what stands
behind it less long.
"""

from __future__ import annotations

import itertools
import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

AT_ONCE: Final = 8
"""Marks in the queue at a time."""

_MARKS: Final = 4
"""Marks within the longest wait, while requests do wait."""

_SPARED: Final = 8
"""Of a batch whose requests have all waited for too long, one in so many is answered."""


class Admission:
    """Tells by the marks in a queue how long its requests have waited.

    Parameters
    ----------
    longest
        Seconds that a request may wait while the model is overloaded; one whose caller waits for
        an answer for less than twice as long may wait for half of its time. The model is
        overloaded once requests have waited longer than ``longest`` for twice as long, so that
        neither a burst nor a pause of the machine has a request refused. It is no more when they
        wait for less than half of it. Background work is refused from half of it on, at any time.
        Of each batch some requests are answered, the youngest ones.
    """

    def __init__(self, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._clock = clock
        # Nobody else can guess the id of a mark.
        self._names = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())
        self._sent: dict[str, float] = {}
        self._lock = threading.Lock()
        self._next_mark = 0.0
        self._too_long_since: float | None = None

    @property
    def marked(self) -> bool:
        """Whether there is a mark in the queue."""
        return bool(self._sent)

    def due(self) -> bool:
        """Whether a mark is to be sent now."""
        now = self._clock()
        if now < self._next_mark or len(self._sent) >= AT_ONCE:
            return False
        self._next_mark = now + self._longest
        return True

    def mark(self) -> str:
        """The id of a mark that is being sent. Any thread may ask."""
        with self._lock:
            name = next(self._names)
            self._sent[name] = self._clock()
        return name

    def back(self, mark: str) -> None:
        """Forget a mark that was answered, or could not be sent."""
        with self._lock:
            self._sent.pop(mark, None)

    def refused(
        self,
        ids: Sequence[str],
        time_of: Callable[[int], float | None],
        background: Callable[[int], bool],
        left: Callable[[int], bool] = lambda _: False,
    ) -> list[bool | None]:
        """Whether each request of a batch is to be refused, in its order; None for a mark.

        Of the request at a place, ``time_of`` tells for how many seconds its caller waits (None:
        not known), and ``background`` whether it is background work. Both are asked only of
        requests that have waited. ``left`` tells whether the caller has left, which is dear to
        learn: it is asked of the oldest request, and of the next one if it has.
        """
        now = self._clock()
        with self._lock:
            sent = dict(self._sent)
        # A mark of another batch entered the queue behind this one.
        entered = min((sent[name] for name in sent.keys() - set(ids)), default=now)
        waits: list[float | None] = []
        for name in reversed(ids):
            entered = sent.get(name, entered)
            waits.append(None if name in sent else now - entered)
        waits.reverse()
        self._learn(now, now - entered, exactly=not sent.keys().isdisjoint(ids))
        since = self._too_long_since
        overloaded = since is not None and now - since > 2 * self._longest

        def verdict(place: int, wait: float) -> bool:
            if overloaded and (wait > self._longest or wait > (time_of(place) or math.inf) / 2):
                return True
            return wait > self._longest / 2 and background(place)

        verdicts = [
            None if wait is None else wait > 0 and verdict(place, wait)
            for place, wait in enumerate(waits)
        ]
        if True in verdicts and False not in verdicts:
            for place in self._spared(waits, time_of, background):
                verdicts[place] = False
        for place, wait in enumerate(waits):
            if wait is None or verdicts[place]:
                continue
            if wait <= min(self._longest, time_of(place) or math.inf) / 2 or not left(place):
                break
            verdicts[place] = True
        return verdicts

    def _spared(
        self,
        waits: Sequence[float | None],
        time_of: Callable[[int], float | None],
        background: Callable[[int], bool],
    ) -> list[int]:
        """The youngest requests of a batch of which all would be refused.

        To refuse takes time too. Where many callers ask again at once, a queue of nothing but
        refusals can last longer than a request may wait, and nobody would ever be answered.
        """
        waiting = [
            place
            for place in reversed(range(len(waits)))
            if (wait := waits[place]) is not None
            and wait < (time_of(place) or math.inf)
            and not background(place)
        ]
        return waiting[: len(waits) // _SPARED + 1]

    def _learn(self, now: float, wait: float, *, exactly: bool) -> None:
        """Note how long a mark has waited, or at the least the requests before it."""
        if wait > self._longest / _MARKS:
            self._next_mark = min(self._next_mark, now + self._longest / _MARKS)
        if wait > self._longest:
            if self._too_long_since is None:
                self._too_long_since = now
        elif exactly and wait < self._longest / 2:
            self._too_long_since = None
