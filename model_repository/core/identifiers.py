"""Item ids in arrays that the processes of a server share.

A dictionary of a million ids takes 150 MB in each process, and seconds to fill. Here the ids lie
back to back in one array, and a hash table of indices, made at export, finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .arrays import Indices

_REMEMBERED: Final = 50_000
"""Ids whose index is kept in a dictionary, which answers ten times as fast: most requests are about
few items."""


@dataclass(frozen=True, slots=True)
class Strings:
    """Many strings in two arrays: their bytes UINT8 back to back, and where each begins INT64.

    ``offsets`` has one entry more than there are strings, the end of the last.
    """

    content: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, values: Sequence[str]) -> Strings:
        encoded = [value.encode() for value in values]
        content = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(content, np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> bytes:
        return self.content[self.offsets[place] : self.offsets[place + 1]].tobytes()

    def take(self, places: Indices) -> NDArray[Any]:
        """The strings at places [n], as they travel: an object array of ``bytes``."""
        found = np.empty(len(places), np.object_)
        found[:] = [self[place] for place in places.tolist()]
        return found


class Identifiers:
    """The ids of a catalogue, in its order.

    Parameters
    ----------
    strings
        The ids; all differ.
    table
        What `hash_table` made of them, INT32.
    """

    def __init__(self, strings: Strings, table: Indices) -> None:
        self.strings = strings
        self.table = table
        self._content = np.ascontiguousarray(strings.content).data
        self._offsets = np.ascontiguousarray(strings.offsets).data
        self._table = np.ascontiguousarray(table).data
        self._known: dict[bytes, int] = {}

    @classmethod
    def of(cls, ids: Sequence[str]) -> Identifiers:
        strings = Strings.of(ids)
        return cls(strings, hash_table(strings))

    def __len__(self) -> int:
        return len(self.strings)

    def indices(self, identifiers: Sequence[bytes]) -> list[int | None]:
        """Where each item is in the catalogue; None if it has none of that id."""
        known = self._known
        found = [known.get(each) for each in identifiers]
        if None not in found:
            return found
        return [
            self._search(each) if index is None else index
            for each, index in zip(identifiers, found, strict=True)
        ]

    def _search(self, identifier: bytes) -> int | None:
        table, mask = self._table, len(self._table) - 1
        place = crc32(identifier) & mask
        while (candidate := table[place]) >= 0:
            begin, end = self._offsets[candidate], self._offsets[candidate + 1]
            if self._content[begin:end] == identifier:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[identifier] = candidate
                return int(candidate)
            place = (place + 1) & mask
        return None


def hash_table(strings: Strings) -> Indices:
    """Open addressing with linear probing: INT32 [m], m a power of two, -1 where there is nothing.

    At most half of it is taken. The hash is CRC-32, which every version of Python computes alike.
    """
    table = [-1] * (1 << max(1, 2 * len(strings) - 1).bit_length())
    mask = len(table) - 1
    for index in range(len(strings)):
        place = crc32(strings[index]) & mask
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = index
    return np.array(table, np.int32)
