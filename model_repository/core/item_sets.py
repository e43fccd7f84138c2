"""A set of items of a catalogue, of any size."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .arrays import Indices


class ItemSet:
    """The items of which BOOL [n] is true. Nothing changes it, so requests may share it."""

    def __init__(self, member: NDArray[np.bool_]) -> None:
        self.member = member

    @property
    def most_bytes(self) -> int:
        """What it takes of memory once everything of it was asked for."""
        return 5 * len(self.member)

    @cached_property
    def items(self) -> Indices:
        """INT32 [m], ascending."""
        return np.flatnonzero(self.member).astype(np.int32)

    @cached_property
    def outside(self) -> Indices:
        """The others INT32 [n - m], ascending."""
        return np.flatnonzero(~self.member).astype(np.int32)

    @cached_property
    def _size(self) -> int:
        return int(np.count_nonzero(self.member))

    def __len__(self) -> int:
        return self._size

    def __and__(self, other: ItemSet) -> ItemSet:
        return ItemSet(self.member & other.member)
