"""The values that items have in a column of the item file, one item possibly several."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..arrays import Floats, Indices
from ..catalogue import Catalogue
from ..errors import InvalidRequest

SEPARATOR: Final = "|"
"""Between the values of an item, as in Comedy|Drama."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Of n items, the values that each has.

    Attributes
    ----------
    names
        The values.
    offsets, codes
        INT64 [n + 1] and INT32: item i has ``names[c]`` for each c in
        ``codes[offsets[i]:offsets[i + 1]]``.
    """

    names: tuple[str, ...]
    offsets: NDArray[np.int64]
    codes: Indices

    def shares(self, items: Indices) -> tuple[Indices, Floats]:
        """The values INT32 [g] that items INT32 [m] have, and their shares FP32 [m, g].

        The values ascend. Those of an item have even shares, 1 in all; an item without values has
        none.
        """
        rows, codes, share = self._flat(items)
        values, column = np.unique(codes, return_inverse=True)
        table = np.zeros((len(items), len(values)), np.float32)
        table[rows, column] = share
        return values, table

    def mix(self, items: Indices) -> tuple[Indices, Floats]:
        """The values INT32 [g] of items together, ascending, and the share FP32 [g] of each.

        The shares are 1 in all. Each item that has values counts alike.
        """
        _, codes, share = self._flat(items)
        values, column = np.unique(codes, return_inverse=True)
        total = np.bincount(column, share, len(values))
        return values, (total / max(total.sum(), 1)).astype(np.float32)

    def _flat(self, items: Indices) -> tuple[NDArray[np.int64], Indices, Floats]:
        """For each value of each item: the item's place, the value, and its share."""
        starts = self.offsets[items]
        lengths = self.offsets[items + 1] - starts
        rows = np.repeat(np.arange(len(items)), lengths)
        before = np.cumsum(lengths) - lengths
        codes = self.codes[np.arange(len(rows)) + (starts - before)[rows]]
        return rows, codes, (1 / lengths[rows]).astype(np.float32)


@lru_cache(maxsize=16)
def groups_of(catalogue: Catalogue, column: str) -> Groups:
    """The values of a column; read once.

    Raises
    ------
    InvalidRequest
        It was not exported.
    """
    strings = catalogue.attributes.get(column)
    if strings is None:
        known = ", ".join(catalogue.attributes)
        raise InvalidRequest(
            f"this model was exported without the column {column!r:.80} of the items, which the "
            f"request needs; export it again with `--attributes`, or name one that it has: "
            f"{known or 'there are none'}"
        )
    numbers: dict[str, int] = {}
    codes: list[int] = []
    offsets = [0]
    for place in range(len(strings)):
        values = dict.fromkeys(each.strip() for each in strings[place].decode().split(SEPARATOR))
        codes += [numbers.setdefault(value, len(numbers)) for value in values if value]
        offsets.append(len(codes))
    return Groups(tuple(numbers), np.array(offsets, np.int64), np.array(codes, np.int32))
