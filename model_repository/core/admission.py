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
"""Of batches whose requests are all to be refused, one in so many is answered."""

_IN_TIME: Final = 0.9
"""Share of its caller's time within which a request can still be answered."""

_SHORTEST: Final = 0.025
"""Seconds that any request may wait: what is shorter is a pause of the machine."""


class Admission:
    """Tells by the marks in a queue how long its requests have waited.

    Parameters
    ----------
    longest
        Seconds that a request may wait while the model is overloaded; one whose caller waits for
        an answer for less than twice as long may wait for half of its time. That is the limit of a
        request. The model is overloaded once requests have waited for longer than their limit for
        twice as long, so that neither a burst nor a pause of the machine has a request refused.
        Then it refuses what has waited for half of its limit, so whole batches, until requests
        wait for less. That makes room for whole batches to be answered: a batch takes less time
        than its requests one by one. Background work is refused from a quarter of ``longest`` on,
        at any time.
    """

    def __init__(self, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._limit = longest  # of the oldest request of the latest batch
        self._clock = clock
        # Nobody else can guess the id of a mark.
        self._names = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())
        self._sent: dict[str, float] = {}
        self._lock = threading.Lock()
        self._next_mark = 0.0
        self._too_long_since: float | None = None
        self._refused = 0  # batches, one after the other

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
        oldest = next((place for place, wait in enumerate(waits) if wait), None)
        if oldest is not None:
            self._limit = self._limit_of(time_of(oldest))
        self._learn(now, now - entered, exactly=not sent.keys().isdisjoint(ids))
        since = self._too_long_since
        overloaded = since is not None and now - since > 2 * self._limit
        verdicts = [
            None
            if wait is None
            else (overloaded and wait > 0 and wait > self._limit_of(time_of(place)) / 2)
            or (wait > self._longest / 4 and background(place))
            for place, wait in enumerate(waits)
        ]
        self._refused = self._refused + 1 if True in verdicts and False not in verdicts else 0
        if self._refused == _SPARED:
            # To refuse takes time too. Where many callers ask again at once, a queue of nothing
            # but refusals can last longer than a request may wait, and nobody would be answered.
            self._refused = 0
            for place, wait in enumerate(waits):
                if wait is not None and not background(place):
                    verdicts[place] = wait > _IN_TIME * (time_of(place) or math.inf)
        for place, wait in enumerate(waits):
            if wait is None or verdicts[place]:
                continue
            if wait <= min(self._longest, time_of(place) or math.inf) / 2 or not left(place):
                break
            verdicts[place] = True
        return verdicts

    def _limit_of(self, seconds: float | None) -> float:
        """Of a request whose caller waits for so long, None where that is not known."""
        if seconds is None:
            return self._longest
        return min(self._longest, max(_SHORTEST, seconds / 2))

    def _learn(self, now: float, wait: float, *, exactly: bool) -> None:
        """Note how long a mark has waited, or at the least the requests before it."""
        if wait > self._limit / _MARKS:
            self._next_mark = min(self._next_mark, now + self._limit / _MARKS)
        if wait > self._limit:
            self._too_long_since = self._too_long_since or now
        elif exactly and wait < self._limit / 2:
            self._too_long_since = None
