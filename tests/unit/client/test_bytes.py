from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from client._bytes import decode_bytes, encode_bytes

ELEMENTS = st.lists(st.binary(max_size=300))


@given(ELEMENTS)
def test_decoding_gives_back_what_was_encoded(elements: list[bytes]) -> None:
    assert decode_bytes(encode_bytes(elements)) == elements


@given(ELEMENTS.filter(bool))
def test_the_framing_is_tritonclients(elements: list[bytes]) -> None:
    array = np.empty(len(elements), object)
    array[:] = elements
    raw = encode_bytes(elements)
    assert raw == serialize_byte_tensor(array).item()
    assert deserialize_bytes_tensor(raw).tolist() == elements


def test_no_elements_are_no_bytes() -> None:
    assert encode_bytes([]) == b""
    assert decode_bytes(b"") == []


@given(st.lists(st.binary(max_size=20), min_size=1), st.data())
def test_a_cut_is_noticed_unless_it_lies_between_elements(
    elements: list[bytes], data: st.DataObject
) -> None:
    raw = encode_bytes(elements)
    cut = data.draw(st.integers(0, len(raw) - 1))
    between = {len(encode_bytes(elements[:count])) for count in range(len(elements))}
    if cut in between:
        assert encode_bytes(decode_bytes(raw[:cut])) == raw[:cut]
    else:
        with pytest.raises(ValueError, match=r"element \d+ at byte \d+"):
            decode_bytes(raw[:cut])


@given(st.binary(max_size=64))
def test_garbage_is_refused_or_well_framed(raw: bytes) -> None:
    try:
        elements = decode_bytes(raw)
    except ValueError:
        return
    assert encode_bytes(elements) == raw


def test_an_announced_length_beyond_the_end_names_the_element() -> None:
    with pytest.raises(
        ValueError, match=r"element 1 at byte 5: 4294967295 bytes announced, 2 are left"
    ):
        decode_bytes(encode_bytes([b"a"]) + b"\xff\xff\xff\xffab")
