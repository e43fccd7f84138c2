"""The values that items have in an attribute, one item possibly several."""

from __future__ import annotations

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


def members(column: Column, items: Indices) -> NDArray[np.bool_]:
    """BOOL [g, m]: for each value that any of m items has, which of them have it."""
    rows, found = pairs(column, items)
    if isinstance(column, (ListColumn, TextColumn)) and len(column.vocabulary) <= _FEW_VALUES:
        # To sort the values takes three times as long.
        table = np.zeros((len(column.vocabulary), len(items)), bool)
        table[found, rows] = True
        there: NDArray[np.bool_] = table[table.any(1)]
        return there
    values, place = np.unique(found, return_inverse=True)
    table = np.zeros((len(values), len(items)), bool)
    table[place, rows] = True
    return table


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
