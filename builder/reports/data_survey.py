"""What a log holds beside its events: its ratings, and columns that were not used."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import pyarrow as pa

from builder.data.config import Columns, DataConfig
from builder.data.events import scan_events
from builder.data.files import Batch
from builder.data.layouts import Layout, find_layout, is_time, of_events, peek
from builder.data.problems import Problems
from builder.data.ratings import ratings_of, scales_in_words
from builder.data.readers import DataSet, read_unsorted
from builder.data.rows import is_missing
from builder.progress import Progress, silent

_MOST_RATINGS: Final = 20  # different values; of more, ranges are counted
_RANGES: Final = 10
_SURE_NAME: Final = re.compile(r"(rating|stars|score)s?$", re.IGNORECASE)
_RATING_NAME: Final = re.compile(r"rating|stars|score", re.IGNORECASE)
# Of what was bought, and for how much: a small purchase is no dislike.
_AMOUNT_NAME: Final = re.compile(
    r"quantit|qty|amount|count|price|cost|total|units?\b|pieces|pcs|revenue|sales|tax|fee"
    r"|(?:^|[\W_])(?:num|number|no|nr|sum|value|spend|spent|items|plays|times)(?:$|[\W_])"
    r"|menge|anzahl|preis|betrag",
    re.IGNORECASE,
)
_SCALE: Final = (0.0, 10.0)  # of ratings, in steps of a half
_LIKED: Final = 0.5
"""Share of the events that a suggested minimum rating leaves as targets, at least."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """What a log holds beside its events.

    Attributes
    ----------
    ratings
        Each rating, ascending, and how many events have it; of many different ones ranges, by
        where they begin. Empty where there are none, or they are of several scales.
    unused
        Role → a column that seems to have it, where none has.
    """

    ratings: dict[float, int] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)

    @property
    def min_rating(self) -> float | None:
        """The highest rating that at least half of the events reach; None where all reach it.

        Of labels, 0 and 1, it is 1.
        """
        if self.ratings.keys() == {0, 1}:
            return 1
        total = reach = sum(self.ratings.values())
        found = None
        for rating, count in self.ratings.items():
            if reach < _LIKED * total:
                break
            found = rating if reach < total else None
            reach -= count
        return found


class Ratings:
    """Counts the ratings of a log, a batch after the other; they are in the column ``name``."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._counts: Counter[float] = Counter()
        self._scales: set[float] = set()
        self._unread = 0
        self._example = ""

    def add(self, batch: Batch) -> None:
        """Count those of the batch."""
        text = batch.columns.get(self.name)
        if text is not None:
            values, scales = ratings_of(text)
            self._scales.update(scales)
            others = text.filter(pa.array(~np.isfinite(values))).to_pylist()
            unread = [each for each in others if not is_missing(each)]
            self._unread += len(unread)
            self._example = self._example or next(iter(unread), "")
            found = np.unique(values[np.isfinite(values)], return_counts=True)
            self._counts.update(dict(zip(*(each.tolist() for each in found), strict=True)))

    def warn(self, log_name: str) -> None:
        """Tell of the ratings that cannot be read or compared, and so are none."""
        if len(self._scales) > 1:
            log.warning(
                "%s: %s: the ratings are %s; they count as no ratings, and with --min-rating are "
                "errors; write them on one scale, or name another column with --column rating=NAME",
                log_name,
                self.name,
                scales_in_words(self._scales),
            )
        if self._unread:
            log.warning(
                "%s: %s: %s of %s cannot be read, such as %r; they count as no ratings, and "
                "with --min-rating are errors; write numbers, give --on-bad-rows drop, or name "
                "another column with --column rating=NAME",
                log_name,
                self.name,
                f"{self._unread:,}",
                f"{self._unread + sum(self._counts.values()):,}",
                self._example,
            )

    def histogram(self) -> dict[float, int]:
        """Each rating and how many there are, ascending; ranges where they are many."""
        if len(self._scales) > 1:
            return {}
        if len(self._counts) <= _MOST_RATINGS:
            return dict(sorted(self._counts.items()))
        values = np.array(list(self._counts))
        counts, edges = np.histogram(values, _RANGES, weights=np.array([*self._counts.values()]))
        return dict(zip(edges[:-1].tolist(), counts.astype(int).tolist(), strict=True))


def survey(
    config: DataConfig, progress: Progress = silent, *, ratings: bool = False
) -> tuple[DataSet, Survey]:
    """Read a data set and count its ratings; raises and takes what `read_unsorted` does."""
    layout = find_layout(config)
    counts = Ratings(layout.columns.rating or "")
    data = read_unsorted(config, layout, progress, counts.add, ratings=ratings)
    if config.min_rating is None:  # which tells of them itself
        counts.warn(layout.interactions.name)
    return data, _look(layout, counts)


def _look(layout: Layout, ratings: Ratings) -> Survey:
    """Look at the first rows for columns that were not used; all ``ratings`` are counted."""
    columns = layout.columns
    first = peek(layout.interactions, layout.dialects["interactions"])
    if first is None:
        return Survey()
    found = {**first.columns, **of_events(first, columns.item)}
    used = {getattr(columns, each.name) for each in fields(Columns)} | {*layout.time_parts}
    others = {name: values for name, values in found.items() if name not in used}
    unused: dict[str, str] = {}
    if columns.time not in found and not layout.time_parts:
        times = [name for name, values in others.items() if any(values) and is_time(values)]
        unused |= {"time": times[0]} if times else {}
    if columns.rating not in found:
        name = next((name for name, values in others.items() if _is_rating(name, values)), None)
        if name is not None:
            unused |= {"rating": name}
            ratings = Ratings(name)
            scan_events(layout, {name}, Problems(), ratings.add)
    return Survey(ratings.histogram(), unused)


def _is_rating(name: str, texts: Sequence[str]) -> bool:
    if _AMOUNT_NAME.search(name) and not _SURE_NAME.search(name):
        return False
    numbers, scales = ratings_of(pa.array(texts, pa.large_string()))
    values = np.unique(numbers)
    if len(scales) > 1 or len(values) < 2 or not np.isfinite(values).all():
        return False
    low, high = _SCALE
    scale = values[0] >= low and low + 1 < values[-1] <= high and not (values * 2 % 1).any()
    return bool(scale or _RATING_NAME.search(name))
