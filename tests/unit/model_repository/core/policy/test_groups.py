"""The values of a column, one item possibly several."""

from __future__ import annotations

import numpy as np
import pytest

from model_repository.core.errors import InvalidRequest
from model_repository.core.policy.groups import groups_of
from tests.unit.model_repository.core.policy.lists import with_column

KNOWN = with_column(["Comedy|Drama", "Drama", "", "War| Drama |Drama"])


def names(values: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> list[str]:
    found = groups_of(KNOWN, "genres").names
    return [found[value] for value in values]


def test_the_values_of_an_item_have_even_shares() -> None:
    values, shares = groups_of(KNOWN, "genres").shares(np.array([3, 2, 0], np.int32))
    assert names(values) == ["Comedy", "Drama", "War"]
    assert shares.tolist() == [[0, 0.5, 0.5], [0, 0, 0], [0.5, 0.5, 0]]
    assert shares.dtype == np.float32


def test_only_values_that_are_there_are_told() -> None:
    values, shares = groups_of(KNOWN, "genres").shares(np.array([1, 1], np.int32))
    assert names(values) == ["Drama"]
    assert shares.tolist() == [[1], [1]]


def test_each_item_that_has_a_value_counts_alike_in_a_mix() -> None:
    values, mix = groups_of(KNOWN, "genres").mix(np.array([0, 1, 2, 1], np.int32))
    assert dict(zip(names(values), mix.tolist(), strict=True)) == pytest.approx(
        {"Comedy": 1 / 6, "Drama": 5 / 6}
    )


@pytest.mark.parametrize("items", [[], [2]])
def test_nothing_has_no_mix(items: list[int]) -> None:
    values, mix = groups_of(KNOWN, "genres").mix(np.array(items, np.int32))
    assert len(values) == len(mix) == 0
    assert groups_of(KNOWN, "genres").shares(np.array(items, np.int32))[1].shape == (len(items), 0)


def test_a_column_that_was_not_exported_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"without the column 'brand'.*--attributes.*: genres"):
        groups_of(KNOWN, "brand")
