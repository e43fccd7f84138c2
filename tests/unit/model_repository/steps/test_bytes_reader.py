from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from client._bytes import encode_bytes
from model_repository.core.contract import LONGEST_VALUE, MOST_VALUES
from model_repository.steps.bytes_reader import BeyondLimits, read_bytes


@given(st.lists(st.binary(max_size=300)))
def test_it_reads_what_the_client_sends(elements: list[bytes]) -> None:
    values = read_bytes(np.frombuffer(encode_bytes(elements), np.uint8))
    assert values.dtype == np.object_
    assert values.tolist() == elements


def framed(*elements: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(encode_bytes(list(elements)), np.uint8)


def test_what_a_request_may_hold_at_most_is_read() -> None:
    assert len(read_bytes(framed(*[b"i"] * MOST_VALUES))) == MOST_VALUES
    assert [len(each) for each in read_bytes(framed(b"", b"x" * LONGEST_VALUE))] == [0, 2**20]


@pytest.mark.parametrize(
    ("elements", "refusal"),
    [
        ([b""] * (MOST_VALUES + 1), "has more than 10000 values"),
        (
            [b"", b"x" * (LONGEST_VALUE + 1)],
            "has a value of 1048577 bytes at 1, and at most 1048576",
        ),
        ([b"x" * 2**20] * 64, "has 67109120 bytes, and at most 67108864"),
    ],
)
def test_more_is_refused_and_the_limit_named(elements: list[bytes], refusal: str) -> None:
    found = read_bytes(framed(*elements)).reshape([1, len(elements)])
    assert isinstance(found, BeyondLimits)
    assert refusal in found.reason
