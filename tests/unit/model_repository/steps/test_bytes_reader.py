from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from client._bytes import encode_bytes
from model_repository.steps.bytes_reader import read_bytes


@given(st.lists(st.binary(max_size=300)))
def test_it_reads_what_the_client_sends(elements: list[bytes]) -> None:
    values = read_bytes(np.frombuffer(encode_bytes(elements), np.uint8))
    assert values.dtype == np.object_
    assert values.tolist() == elements
