"""The values that items have in an attribute, one item possibly several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..arrays import Floats, Indices
from ..attributes import (
    NO_CODE,
    NO_DATE,
    BooleanColumn,
    Column,
    DateColumn,
    ListColumn,
    TextColumn,
    date_text,
)

_FEW_VALUES: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Which of m candidates are in which of g groups, a candidate possibly in several.

    A table of both has a byte for each group and candidate. Where nearly every candidate has a
    value of its own, that is a GiB. So here are the p places of it that are true.

    Attributes
    ----------
    place, group
        INT64 [p] each, sorted by the place of the candidate, from 0 to m - 1.
    starts
        INT64 [m + 1], where the pairs of each candidate begin.
    number
        That of the groups, g.
    """

    place: NDArray[np.int64]
    group: NDArray[np.int64]
    starts: NDArray[np.int64]
    number: int

    @classmethod
    def of(
        cls, place: NDArray[np.int64], group: NDArray[np.int64], candidates: int, number: int
    ) -> Members:
        """Members by their pairs [p], sorted by the place, each there once."""
        return cls(place, group, place.searchsorted(np.arange(candidates + 1)), number)

    def groups_of(self, place: int) -> list[int]:
        """The groups that one candidate is in."""
        found: list[int] = self.group[self.starts[place] : self.starts[place + 1]].tolist()
        return found

    def places_of(self, group: int) -> NDArray[np.int64]:
        """The candidates of one group."""
        found: NDArray[np.int64] = self.place[self.group == group]
        return found

    def within(self, groups: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """BOOL [m], the candidates that are in any of ``groups`` BOOL [g]."""
        found = np.zeros(len(self.starts) - 1, bool)
        if groups.any():
            found[self.place[groups[self.group]]] = True
        return found

    def sizes(self) -> NDArray[np.int64]:
        """INT64 [g], how many candidates each group has."""
        return np.bincount(self.group, minlength=self.number)


def pairs(column: Column, items: Indices) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """For each value of each of m items: the item's place, from 0 to m - 1, and the value.

    A value is a number. That of a text is its code.
    """
    if isinstance(column, ListColumn):
        starts = column.offsets[items]
        lengths = column.offsets[items + 1] - starts
        rows = np.repeat(np.arange(len(items)), lengths)
        before = np.cumsum(lengths) - lengths
        return rows, column.codes[np.arange(len(rows)) + (starts - before)[rows]]
    values: NDArray[Any]
    if isinstance(column, TextColumn):
        values = column.codes[items]
        known = values != NO_CODE
    elif isinstance(column, BooleanColumn):
        values = column.truths[items]
        known = values != NO_CODE
    elif isinstance(column, DateColumn):
        values = column.seconds[items]
        known = values != NO_DATE
    else:
        values = column.numbers[items]
        known = ~np.isnan(values)
    return np.flatnonzero(known), values[known]


def names(column: Column, values: NDArray[Any]) -> list[str]:
    """What values of `pairs` are called."""
    if isinstance(column, (ListColumn, TextColumn)):
        return [column.vocabulary[code].decode() for code in values.tolist()]
    if isinstance(column, DateColumn):
        return [date_text(seconds) for seconds in values.tolist()]
    if isinstance(column, BooleanColumn):
        return [str(bool(value)).lower() for value in values.tolist()]
    return [f"{value:g}" for value in values.tolist()]


def crowded(column: Column, items: Indices, most: int) -> tuple[NDArray[Any], NDArray[Any], int]:
    """The values that more than ``most`` of m items have: no other can be too much in a list.

    For each such value of each item the item's place INT64 [p], from 0 to m - 1, ascending, and
    the number of the value's group INT64 [p]; and how many groups there are. These are in the
    order of their values.
    """
    rows, values = pairs(column, items)
    if isinstance(column, (ListColumn, TextColumn)) and len(column.vocabulary) <= _FEW_VALUES:
        # To sort the values takes three times as long.
        code, sizes = values, np.bincount(values, minlength=len(column.vocabulary))
    else:
        _, code, sizes = np.unique(values, return_inverse=True, return_counts=True)
    many = sizes > most
    kept = many[code]
    group = np.cumsum(many) - 1
    return rows[kept], group[code[kept]], int(many.sum())


def shares(column: Column, items: Indices) -> tuple[NDArray[Any], Floats]:
    """The values [g] that items INT32 [m] have, and their shares FP32 [m, g].

    The values ascend. Those of an item have even shares, 1 in all; an item without values has none.
    """
    rows, found, share = _shared(column, items)
    values, place = np.unique(found, return_inverse=True)
    table = np.zeros((len(items), len(values)), np.float32)
    table[rows, place] = share
    return values, table


def mix(column: Column, items: Indices) -> tuple[NDArray[Any], Floats]:
    """The values [g] of items together, ascending, and the share FP32 [g] of each.

    The shares are 1 in all. Each item that has values counts alike.
    """
    _, found, share = _shared(column, items)
    values, place = np.unique(found, return_inverse=True)
    total = np.bincount(place, share, len(values))
    return values, (total / max(total.sum(), 1)).astype(np.float32)


def _shared(column: Column, items: Indices) -> tuple[NDArray[np.int64], NDArray[Any], Floats]:
    rows, values = pairs(column, items)
    lengths = np.bincount(rows, minlength=len(items))
    return rows, values, (1 / lengths[rows]).astype(np.float32)
