"""The trend while events come in: one process counts them, and those that score read the counts.

They share arrays. A store of 8 aligned bytes is whole on the processors that Triton runs on, so a
reader sees each level as it was before an event or after it, and needs no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Indices, Seconds
from .trend import Trend, TrendRow

_PAUSE: Final = 20
"""A row of the whole catalogue is computed anew after so many times of what that takes, at the
earliest: it takes a twentieth of a process at most, however fast events come."""

_CHANGES, _LAST = 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class LiveCounts:
    """The counts of all events, those of the log included.

    Attributes
    ----------
    state
        INT64 [2]: how often they changed, and Unix seconds of the last event.
    level
        FP64 [n], as of a `Trend`.
    """

    state: NDArray[np.int64]
    level: NDArray[np.float64]

    @property
    def changes(self) -> int:
        return int(self.state[_CHANGES])

    @property
    def last(self) -> int:
        return int(self.state[_LAST])

    def add(self, items: Indices, times: Seconds, time_constant: float) -> None:
        """Count events of items INT32 [E] at times INT64 [E]; one process alone may."""
        if not len(items):
            return
        np.logaddexp.at(self.level, items, times / time_constant)
        self.state[_LAST] = max(self.last, int(times.max()))
        # Last, so that who sees it sees the levels too.
        self.state[_CHANGES] += 1


class LiveTrend:
    """The counts as of the last event (a `TrendSource`).

    Parameters
    ----------
    exported
        The counts of the log. A request for a time that the log covers gets them, whatever has
        happened since.
    find
        The live counts; None while there are none.
    """

    def __init__(
        self,
        exported: Trend,
        find: Callable[[], LiveCounts | None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._exported = exported
        self._find = find
        self._clock = clock
        self._of_log = exported.at(exported.until)
        self._row = self._of_log
        self._row_of: tuple[LiveCounts, int] | None = None
        self._not_before = 0.0

    def rows(self, times: Sequence[int]) -> list[TrendRow]:
        counts = self._find()
        if not any(times):
            return [self._latest(counts)]
        found = {each: self._at(counts, each) for each in set(times)}
        return [found[each] for each in times]

    def _at(self, counts: LiveCounts | None, time: int) -> TrendRow:
        if 0 < time <= self._exported.until:
            return self._of_log
        if time == 0 or (counts is not None and time <= counts.last):
            return self._latest(counts)
        return (self._exported if counts is None else self._trend(counts)).at(time)

    def _latest(self, counts: LiveCounts | None) -> TrendRow:
        if counts is None:
            return self._of_log
        row_of = counts, counts.changes
        now = self._clock()
        if row_of != self._row_of and now >= self._not_before:
            self._row = self._trend(counts).at(counts.last)
            self._row_of = row_of
            done = self._clock()
            self._not_before = done + _PAUSE * (done - now)
        return self._row

    def _trend(self, counts: LiveCounts) -> Trend:
        exported = self._exported
        return Trend(exported.time_constant, exported.weight, counts.level, counts.last)
