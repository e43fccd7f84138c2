from __future__ import annotations

import numpy as np
import pytest

from model_repository.core.top_k import _BLOCK, largest


@pytest.mark.parametrize("length", [1, 7, 1000, 4 * _BLOCK, 9 * _BLOCK + 5, 100 * _BLOCK + 1])
@pytest.mark.parametrize("number", [1, 2, 20])
def test_the_largest_are_those_of_a_sort(length: int, number: int) -> None:
    random = np.random.default_rng(length + number)
    values = np.stack([random.permutation(length) for _ in range(3)]).astype(np.float32)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :number]
    np.testing.assert_array_equal(largest(values, number), expected)


def test_what_is_no_number_is_found_and_not_passed_over() -> None:
    values = np.zeros((2, 9 * _BLOCK), np.float32)
    values[1, 5 * _BLOCK + 3] = np.nan
    found = np.take_along_axis(values, largest(values, 2), 1)
    assert np.isnan(found).any(1).tolist() == [False, True]
