"""A second look at a log for ``describe``: its ratings, and columns that were not used."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import pyarrow as pa

from builder.data.config import DataConfig
from builder.data.event_log import numbers_of
from builder.data.events import scan_events
from builder.data.files import Batch
from builder.data.layouts import find_layout
from builder.data.problems import Problems
from builder.data.times import TimeColumn

_SAMPLE: Final = 1000  # rows that tell what a column holds
_MOST_RATINGS: Final = 20  # different values; of more, ranges are counted
_RANGES: Final = 10
_RATING_NAME: Final = re.compile(r"rating|stars|score", re.IGNORECASE)
_SCALE: Final = (0.0, 10.0)  # of ratings, in steps of a half
_LIKED: Final = 0.5
"""Share of the events that a suggested minimum rating leaves as targets, at least."""


@dataclass(frozen=True)
class Survey:
    """What a log holds beside its events.

    Attributes
    ----------
    ratings
        Each rating, ascending, and how many events have it; of many different ones ranges, by
        where they begin. Empty where there are none.
    unused
        Role → a column that seems to have it, where none has.
    """

    ratings: dict[float, int] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)

    @property
    def min_rating(self) -> float | None:
        """The highest rating that at least half of the events reach; None where all reach it."""
        total = reach = sum(self.ratings.values())
        found = None
        for rating, count in self.ratings.items():
            if reach < _LIKED * total:
                break
            found = rating if reach < total else None
            reach -= count
        return found


def survey(config: DataConfig) -> Survey:
    """Look at a log that `read` found in order."""
    layout = find_layout(config)
    columns = layout.columns
    look, counts = _Look(), _Ratings(columns.rating)

    def take(batch: Batch) -> None:
        look.sample(batch)
        counts.add(batch)

    log = scan_events(layout, None, Problems(), take)
    if log is None:
        return Survey()
    used = {getattr(columns, each.name) for each in fields(columns)}
    others = [name for name in log.names if name not in used and name in look.samples]
    unused: dict[str, str] = {}
    if columns.time not in log.names:
        times = [name for name in others if _is_time(look.samples[name])]
        unused |= {"time": times[0]} if times else {}
    if columns.rating not in log.names:
        found = [name for name in others if _is_rating(name, look.samples[name])]
        if found:
            unused |= {"rating": found[0]}
            counts = _Ratings(found[0])
            scan_events(layout, {found[0]}, Problems(), counts.add)
    return Survey(counts.histogram(), unused)


class _Look:
    """The first values of each column."""

    def __init__(self) -> None:
        self.samples: dict[str, pa.Array] = {}

    def sample(self, batch: Batch) -> None:
        for name, values in batch.columns.items():
            self.samples.setdefault(name, values.slice(0, _SAMPLE))


class _Ratings:
    def __init__(self, column: str | None) -> None:
        self._column = column
        self._counts: Counter[float] = Counter()

    def add(self, batch: Batch) -> None:
        text = batch.columns.get(self._column or "")
        if text is not None:
            values = numbers_of(text)
            found = np.unique(values[np.isfinite(values)], return_counts=True)
            self._counts.update(dict(zip(*(each.tolist() for each in found), strict=True)))

    def histogram(self) -> dict[float, int]:
        if len(self._counts) <= _MOST_RATINGS:
            return dict(sorted(self._counts.items()))
        values = np.array(list(self._counts))
        counts, edges = np.histogram(values, _RANGES, weights=np.array([*self._counts.values()]))
        return dict(zip(edges[:-1].tolist(), counts.astype(int).tolist(), strict=True))


def _is_time(text: pa.Array) -> bool:
    times = TimeColumn()
    times.add(0, text, np.ones(len(text), np.bool_))
    return times.is_sure


def _is_rating(name: str, text: pa.Array) -> bool:
    values = np.unique(numbers_of(text))
    if len(values) < 2 or not np.isfinite(values).all():
        return False
    low, high = _SCALE
    scale = values[0] >= low and low + 1 < values[-1] <= high and not (values * 2 % 1).any()
    return bool(scale or _RATING_NAME.search(name))
