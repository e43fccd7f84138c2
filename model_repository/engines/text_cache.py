"""Remembers the vectors of the texts that were asked for last."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ..core.least_recently_used import LeastRecentlyUsed


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
        self._entries = LeastRecentlyUsed[bytes, EncodedText](capacity)

    def get(self, text: str) -> EncodedText | None:
        return self._entries.get(_key(text))

    def put(self, text: str, entry: EncodedText) -> None:
        self._entries.put(_key(text), entry, 1)


def _key(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
