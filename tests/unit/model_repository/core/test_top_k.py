from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import top_k
from model_repository.core.top_k import _BLOCK, largest


@pytest.mark.parametrize("length", [1, 7, 1000, 4 * _BLOCK, 9 * _BLOCK + 5, 100 * _BLOCK + 1])
@pytest.mark.parametrize("number", [1, 2, 20])
def test_the_largest_are_those_of_a_sort(length: int, number: int) -> None:
    random = np.random.default_rng(length + number)
    values = np.stack([random.permutation(length) for _ in range(3)]).astype(np.float32)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :number]
    found = largest(values, number)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


@given(
    length=st.integers(1, 120),
    number=st.integers(0, 9),
    users=st.integers(1, 3),
    kinds=st.sampled_from([1, 2, 5, 30]),
    block=st.integers(2, 8),
    seed=st.integers(0, 999),
)
def test_of_equals_the_first_come_first_within_and_across_blocks(
    length: int, number: int, users: int, kinds: int, block: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, kinds, (users, length)).astype(np.float32)
    values[random.random(values.shape) < 0.2] = -np.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_k, "_BLOCK", block)
        found = largest(values, min(number, length))
    expected = np.argsort(-values, axis=1, kind="stable")[:, :number]
    np.testing.assert_array_equal(found, expected)


def test_what_is_no_number_is_found_and_not_passed_over() -> None:
    values = np.zeros((2, 9 * _BLOCK), np.float32)
    values[1, 5 * _BLOCK + 3] = np.nan
    found = np.take_along_axis(values, largest(values, 2), 1)
    assert np.isnan(found).any(1).tolist() == [False, True]
    few = np.array([[1, 2, np.nan, 3]], np.float32)
    assert 2 in largest(few, 2)[0]
