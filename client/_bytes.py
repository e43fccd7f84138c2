"""Triton's BYTES encoding: every element is its length (4 bytes, little endian) and its bytes.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

_LENGTH: Final = struct.Struct("<I")


def encode_bytes(elements: Sequence[bytes]) -> bytes:
    """Frame ``elements`` for the wire; no elements give no bytes."""
    parts = [b""] * (2 * len(elements))
    parts[::2] = map(_LENGTH.pack, map(len, elements))
    parts[1::2] = elements
    return b"".join(parts)


def decode_bytes(raw: bytes) -> list[bytes]:
    """Take framed elements apart.

    Raises
    ------
    ValueError
        A length or an element is cut short. Names the element and its offset.
    """
    elements: list[bytes] = []
    unpack = _LENGTH.unpack_from
    offset, end = 0, len(raw)
    while offset < end:
        start = offset + _LENGTH.size
        if start > end:
            raise ValueError(
                f"element {len(elements)} at byte {offset}: "
                f"{end - offset} bytes are left, too few for a length"
            )
        stop = start + unpack(raw, offset)[0]
        if stop > end:
            raise ValueError(
                f"element {len(elements)} at byte {offset}: "
                f"{stop - start} bytes announced, {end - start} are left"
            )
        elements.append(raw[start:stop])
        offset = stop
    return elements
