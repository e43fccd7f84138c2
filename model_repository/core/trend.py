"""The trend: what is popular at a moment, by counts of events in which older ones weigh less.

An event of an item counts 1 when it happens and ``exp(-age / τ)`` later, with a time constant τ in
seconds. The count at a time is kept as the *level* ``log Σ exp(event time / τ)``: at any later time
it is ``exp(level - time / τ)``. So no count has to be renewed as time passes, a new event costs one
addition, and events may come late and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Indices, Seconds
from .top_k import largest

_LIFTED: Final = 2_048
"""Items with the largest trend that are candidates whatever the network makes of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Trend:
    """The term ``weight · log(1 + count)`` of every logit, and the counts at a moment.

    Attributes
    ----------
    time_constant
        In seconds.
    weight
        0 or more; 0 for no such term.
    level
        FP64 [n], see above; -inf for an item without events.
    until
        Unix seconds of the last event that is counted.
    """

    time_constant: float
    weight: float
    level: NDArray[np.float64]
    until: int

    def __bool__(self) -> bool:
        """Whether it adds anything."""
        return self.weight > 0

    @property
    def settings(self) -> dict[str, Any]:
        """All but the level, as JSON has it; with a level they make the trend again."""
        return {
            "time_constant": self.time_constant,
            "weight": self.weight,
            "until": self.until,
        }

    def at(self, time: int) -> TrendRow:
        """The term at a time in Unix seconds; not before `until`, since events cannot be undone."""
        time = max(time, self.until)
        counts = np.exp(self.level - time / self.time_constant)
        return TrendRow(trend_logits(counts, self.weight), time)


NO_TREND: Final = Trend(1.0, 0.0, np.zeros(0), 0)


class TrendRow:
    """The term of each item at one moment.

    Attributes
    ----------
    logits
        FP32 [n].
    time
        Unix seconds.
    """

    def __init__(self, logits: Floats, time: int) -> None:
        self.logits = logits
        self.time = time

    @cached_property
    def lifted(self) -> tuple[Indices, float]:
        """The items INT32 [m] with the largest terms, and the most that any other one has."""
        number = min(_LIFTED + 1, len(self.logits))
        first = largest(self.logits[np.newaxis], number)[0]
        if number == len(self.logits):
            return first, 0.0
        return first[:-1], float(self.logits[first[-1]])


class TrendSource(Protocol):
    """Knows the trend at the time of a request."""

    def rows(self, times: Sequence[int]) -> list[TrendRow]:
        """The row of each of U requests at times in Unix seconds, 0 for now.

        One row alone where it is that of all.
        """
        ...


class Snapshot:
    """The counts of a log: without a time, as of its last event (a `TrendSource`)."""

    def __init__(self, trend: Trend) -> None:
        self._trend = trend
        self._last = trend.at(trend.until)

    def rows(self, times: Sequence[int]) -> list[TrendRow]:
        if max(times, default=0) <= self._trend.until:
            return [self._last]
        found = {time: self._trend.at(time) for time in set(times)}
        return [found[time] for time in times]


def trend_logits(counts: NDArray[np.floating[Any]], weight: float) -> Floats:
    """The term FP32 [...] of items with decayed counts FP [...]."""
    logits: Floats = (weight * np.log1p(counts)).astype(np.float32)
    return logits


def levels(items: Indices, times: Seconds, size: int, time_constant: float) -> NDArray[np.float64]:
    """The level FP64 [size] of each item after events of items INT32 [E] at times INT64 [E]."""
    latest = np.full(size, -np.inf)
    np.maximum.at(latest, items, times.astype(np.float64))
    # Relative to the item's latest event, whose share is 1: no exponential can overflow.
    shares = np.exp((times - latest[items]) / time_constant)
    sums = np.bincount(items, shares, size)
    found = np.full(size, -np.inf)
    warm = sums > 0
    found[warm] = latest[warm] / time_constant + np.log(sums[warm])
    return found
