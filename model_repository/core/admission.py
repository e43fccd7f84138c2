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
from collections.abc import Callable, Mapping, Sequence
from typing import Final

AT_ONCE: Final = 8
"""Marks in the queue at a time."""

_MARKS: Final = 4
"""Marks within the longest wait, while requests do wait."""

_KEPT: Final = 0.1
"""Share of its limit that a request may wait while the model is overloaded."""

_TAKEN: Final = 0.07
"""Share of the limit that a batch may take meanwhile.

Triton prepares the next batch while one runs, so requests wait for as long as a batch takes, or
longer. With less there are fewer answers: the time between two batches stays the same.
"""

_SPARED: Final = 32
"""Of batches whose requests are all to be refused, one in so many is answered."""

_RECOVERY: Final = 10
"""Limits within which background work that was refused is let in again in full."""

_FORGOTTEN: Final = 10
"""Limits without a batch after which earlier waits say nothing of those to come."""

_GROWTH: Final = 1.25
"""Of what is answered of a batch, after one that took no longer than it may."""

_IN_TIME: Final = 0.9
"""Share of its caller's time within which a request can still be answered."""

_SHORTEST: Final = 0.025
"""Seconds that any request may wait: what is shorter is a pause of the machine."""


class Admission:
    """Tells by the marks in a queue how long its requests have waited.

    Parameters
    ----------
    longest
        Seconds that a request may wait; one whose caller waits for an answer for less than twice as
        long may wait for half of its time. That is the limit of a request. The model is overloaded
        once a request has waited for longer than its limit, and others for more than half of it
        for as long before, so that neither a short burst nor a pause of the machine has a request
        refused. Then it refuses what has waited for a tenth of its limit, so that the queue gets
        short and answers come soon (Nichols & Jacobson 2012, "Controlling queue delay", tell a
        burst from a standing queue in the same way), and answers no more of a batch than it can in
        7 % of a limit.
        Background work is refused from a quarter of ``longest`` on at any time. Once that happens
        beside the requests of users, or the model is overloaded, background work gives way: it may
        wait for half a tenth of the limit, is what is refused first of too large a batch, and only
        as much of it is let in as leaves users' requests to wait for no more than a tenth.
        Both are over once nothing had to be refused for ``longest``.
    largest
        Requests of a full batch.
    """

    def __init__(
        self, longest: float, largest: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest = longest
        self._largest = largest
        self._limit = longest  # of the oldest request of the latest batch
        self._overloaded = False
        self._gives_way = False  # background work to users
        self._clock = clock
        # Nobody else can guess the id of a mark.
        self._names = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())
        self._sent: dict[str, float] = {}
        self._lock = threading.Lock()
        self._next_mark = 0.0
        self._too_long_since: float | None = None
        self._learnt_at = -math.inf
        self._refused_at = -math.inf
        self._background = _Share()
        self._most = largest  # requests of a batch that are answered while overloaded
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
        self._next_mark = now + (self._spacing if self._gives_way else self._longest)
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
        not known), and ``background`` whether it is background work. ``left`` tells whether the
        caller has left, which is dear to learn: it is asked of the oldest request, and of the next
        one if it has.
        """
        now = self._clock()
        with self._lock:
            sent = dict(self._sent)
        waits, longest = _waits(ids, sent, now)
        oldest = next((place for place, wait in enumerate(waits) if wait), None)
        if oldest is not None:
            self._limit = self.limit_of(time_of(oldest))
        self._learn(now, longest, exactly=not sent.keys().isdisjoint(ids))
        verdicts = [
            None if wait is None else self._is_refused(wait, place, time_of, background)
            for place, wait in enumerate(waits)
        ]
        refuses = True in verdicts
        if self._gives_way:
            too_much = any(
                wait and wait > _kept(self.limit_of(time_of(place))) and not background(place)
                for place, wait in enumerate(waits)
            )
            self._background.learn(now, self._limit, too_much=too_much)
        if True in verdicts and False not in verdicts:
            self._spare(verdicts, waits, time_of, background)
        else:
            self._refused = 0
        if self._gives_way:
            self._cut(verdicts, background)
        refuses = refuses or True in verdicts
        if refuses and (self._overloaded or self._has_users(waits, background)):
            self._refused_at = now
        for place, wait in enumerate(waits):
            if wait is None or verdicts[place]:
                continue
            if wait <= min(self._longest, time_of(place) or math.inf) / 2 or not left(place):
                break
            verdicts[place] = True
        return verdicts

    def _spare(
        self,
        verdicts: list[bool | None],
        waits: Sequence[float | None],
        time_of: Callable[[int], float | None],
        background: Callable[[int], bool],
    ) -> None:
        """Answer some of a batch of which all would be refused, if their callers wait so long."""
        in_time = [
            place
            for place, wait in enumerate(waits)
            if wait is not None
            and not background(place)
            and wait <= _IN_TIME * (time_of(place) or math.inf)
        ]
        self._refused += 1
        if self._refused == _SPARED:
            # To refuse takes time too. Where many callers ask again at once, a queue of nothing
            # but refusals can last longer than a request may wait, and nobody would be answered.
            self._refused = 0
        elif len(verdicts) < self._largest:
            # Nobody waits behind a batch that is not full.
            in_time = in_time[-1:]
        else:
            return
        for place in in_time:
            verdicts[place] = False

    @staticmethod
    def _has_users(waits: Sequence[float | None], background: Callable[[int], bool]) -> bool:
        return any(wait is not None and not background(place) for place, wait in enumerate(waits))

    def _cut(self, verdicts: list[bool | None], background: Callable[[int], bool]) -> None:
        """Refuse what is too much for a batch: background work, then the oldest if overloaded."""
        kept = [place for place, each in enumerate(verdicts) if each is False]
        too_many = len(kept) - self._most
        if too_many > 0:
            order = [place for place in kept if background(place)]
            if self._overloaded:
                order += [place for place in kept if not background(place)]
            for place in order[:too_many]:
                verdicts[place] = True

    def limit_of(self, seconds: float | None, *, background: bool = False) -> float:
        """Seconds that a request may wait whose caller waits for so long (None: not known)."""
        longest = self._longest / 4 if background else self._longest
        return longest if seconds is None else min(longest, max(_SHORTEST, seconds / 2))

    def took(self, answered: int, seconds: float) -> None:
        """Note how long so many requests of a batch took to answer."""
        allowed = max(_SHORTEST, _TAKEN * self._limit)
        if seconds > allowed:
            self._most = max(1, int(answered * allowed / seconds))
        elif answered >= self._most:
            self._most = min(self._largest, math.ceil(_GROWTH * self._most))

    def _is_refused(
        self,
        wait: float,
        place: int,
        time_of: Callable[[int], float | None],
        background: Callable[[int], bool],
    ) -> bool:
        if not self._gives_way:
            return background(place) and wait > self.limit_of(None, background=True)
        kept = _kept(self.limit_of(time_of(place)))
        if background(place):
            return wait > kept / 2 or not self._background.lets_in()
        return self._overloaded and wait > kept

    @property
    def _spacing(self) -> float:
        """Seconds between marks, while requests wait."""
        return _kept(self._limit) / 2 if self._gives_way else self._limit / _MARKS

    def _learn(self, now: float, wait: float, *, exactly: bool) -> None:
        """Note how long a mark has waited, or at the least the requests before it."""
        if now - self._learnt_at > _FORGOTTEN * self._longest:
            self._too_long_since = None
        self._learnt_at = now
        self._gives_way = now - self._refused_at <= self._longest
        if self._overloaded:
            self._overloaded = self._gives_way
        elif wait > self._limit / 2:
            since = self._too_long_since = self._too_long_since or now
            if wait > self._limit and now - since > self._limit:
                self._overloaded = self._gives_way = True
                self._too_long_since, self._refused_at = None, now
        elif exactly and wait < self._limit / 2:
            self._too_long_since = None
        if wait > self._spacing:
            self._next_mark = min(self._next_mark, now + self._spacing)


def _waits(
    ids: Sequence[str], sent: Mapping[str, float], now: float
) -> tuple[list[float | None], float]:
    """How long each request of a batch has waited at the least, None for a mark; and the first."""
    # A mark of another batch entered the queue behind this one.
    entered = min((sent[name] for name in sent.keys() - set(ids)), default=now)
    waits: list[float | None] = []
    for name in reversed(ids):
        entered = sent.get(name, entered)
        waits.append(None if name in sent else now - entered)
    waits.reverse()
    return waits, now - entered


def _kept(limit: float) -> float:
    """Seconds that a request with such a limit may wait while the model is overloaded."""
    return max(_SHORTEST, _KEPT * limit)


class _Share:
    """The share of background work that is let in: halved where it is too much, then growing again.

    Additive increase, multiplicative decrease (Chiu & Jain 1989).
    """

    def __init__(self) -> None:
        self._share = 1.0
        self._due = 0.0
        self._learned_at = -math.inf
        self._halved_at = -math.inf

    def lets_in(self) -> bool:
        """Whether the next request is let in."""
        self._due += self._share
        if self._due < 1:
            return False
        self._due -= 1
        return True

    def learn(self, now: float, limit: float, *, too_much: bool) -> None:
        """Halve the share, if it was not halved just now, or let it grow with the time."""
        if too_much:
            if now - self._halved_at > _kept(limit):
                self._share, self._halved_at = self._share / 2, now
        else:
            grown = (now - self._learned_at) / (_RECOVERY * limit)
            self._share = min(1.0, self._share + grown)
        self._learned_at = now
