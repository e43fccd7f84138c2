"""Selects the largest of many numbers."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Indices

_BLOCK: Final = 1024

_Type = TypeVar("_Type", bound=np.generic)


def largest(values: Floats, number: int) -> Indices:
    """Places INT32 [U, number] of the largest of each row FP32 [U, n], largest first.

    Of equal ones the first come first, at the end of the selection too. Of a large catalogue only
    those blocks are searched whose maxima are among the largest: they hold all of the largest
    values. Top 10 of 1,000,000: 0.15 ms, and 15 ms by a partition of all.
    """
    users, items = values.shape
    if not number:
        return np.zeros((users, 0), np.int32)
    searched, places = values, np.broadcast_to(np.arange(items), values.shape)
    if items >= 4 * _BLOCK * number:
        blocks = items // _BLOCK
        maxima = values[:, : blocks * _BLOCK].reshape(users, blocks, _BLOCK).max(2)
        best = np.sort(largest(maxima, number))
        inside = (best[..., np.newaxis] * _BLOCK + np.arange(_BLOCK)).reshape(users, -1)
        outside = np.broadcast_to(
            np.arange(blocks * _BLOCK, items), (users, items - blocks * _BLOCK)
        )
        places = np.concatenate([inside, outside], axis=1)
        searched = take(values, places)
    if number < searched.shape[1]:
        kept = np.argpartition(searched, searched.shape[1] - number)[:, -number:]
        kept = _first_of_equals(searched, np.sort(kept))
        places, searched = take(places, kept), take(searched, kept)
    order = np.argsort(-searched, axis=1, kind="stable")
    return take(places, order).astype(np.int32)


def take(values: NDArray[_Type], places: NDArray[Any]) -> NDArray[_Type]:
    """The values at places [U, k] of each row [U, n]; three times as fast as take_along_axis."""
    rows = np.arange(len(places))[:, np.newaxis]
    found: NDArray[_Type] = values[rows, places]
    return found


def _first_of_equals(values: Floats, kept: NDArray[Any]) -> NDArray[Any]:
    """Places [U, k] of a selection, where of those that equal its least one the first are taken."""
    selected = take(values, kept)
    least = selected.min(axis=1, keepdims=True)
    if np.count_nonzero(values >= least) <= kept.size:
        return kept
    equal = values == least
    wanted = (selected == least).sum(axis=1)
    for row in np.flatnonzero(equal.sum(axis=1) > wanted):
        larger = kept[row][selected[row] != least[row]]
        first = np.flatnonzero(equal[row])[: wanted[row]]
        kept[row] = np.sort(np.concatenate([larger, first]))
    return kept
