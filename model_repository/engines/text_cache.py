"""Remembers the vectors of the texts that were asked for last."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The vector FP32 [h] of a text, and whether the text was cut to the longest length."""

    vector: NDArray[np.float32]
    truncated: bool


class TextCache:
    """Holds at most ``capacity`` texts; the least recently used one makes room.

    A text is known by its digest, so that its length takes no memory.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, EncodedText] = OrderedDict()

    def get(self, text: str) -> EncodedText | None:
        key = _key(text)
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, text: str, entry: EncodedText) -> None:
        if self._capacity:
            if len(self._entries) >= self._capacity:
                self._entries.popitem(last=False)
            self._entries[_key(text)] = entry


def _key(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
