"""The values of an attribute, one item possibly several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_repository.core.attributes import (
    NO_CODE,
    NO_DATE,
    BooleanColumn,
    Column,
    DateColumn,
    NumberColumn,
    list_column,
    text_column,
)
from model_repository.core.policy.groups import Members, crowded, mix, pairs, shares

GENRES = list_column([["Comedy", "Drama"], ["Drama"], [], ["War", "Drama", "Drama"]])


def names(values: NDArray[Any]) -> list[str]:
    return [GENRES.vocabulary[value].decode() for value in values.tolist()]


def test_the_values_of_an_item_have_even_shares() -> None:
    values, found = shares(GENRES, np.array([3, 2, 0], np.int32))
    assert names(values) == ["Comedy", "Drama", "War"]
    assert found.tolist() == [[0, 0.5, 0.5], [0, 0, 0], [0.5, 0.5, 0]]
    assert found.dtype == np.float32


def test_only_values_that_are_there_are_told() -> None:
    values, found = shares(GENRES, np.array([1, 1], np.int32))
    assert names(values) == ["Drama"]
    assert found.tolist() == [[1], [1]]


def test_each_item_that_has_a_value_counts_alike_in_a_mix() -> None:
    values, found = mix(GENRES, np.array([0, 1, 2, 1], np.int32))
    assert dict(zip(names(values), found.tolist(), strict=True)) == pytest.approx(
        {"Comedy": 1 / 6, "Drama": 5 / 6}
    )


@pytest.mark.parametrize("items", [[], [2]])
def test_nothing_has_no_mix(items: list[int]) -> None:
    values, found = mix(GENRES, np.array(items, np.int32))
    assert len(values) == len(found) == 0
    assert shares(GENRES, np.array(items, np.int32))[1].shape == (len(items), 0)


@pytest.mark.parametrize(
    "column",
    [
        text_column(["b", None, "a", "b"]),
        NumberColumn(np.array([2, np.nan, 1, 2.0])),
        BooleanColumn(np.array([1, NO_CODE, 0, 1], np.int8)),
        DateColumn(np.array([9, NO_DATE, 3, 9])),
    ],
)
def test_items_without_a_value_are_in_no_group(column: Column) -> None:
    everything = np.arange(4, dtype=np.int32)
    rows, values = pairs(column, everything)
    assert rows.tolist() == [0, 2, 3]
    assert values[0] == values[2] > values[1]
    assert crowd(column, everything, 0) == [[2], [0, 3]]
    assert crowd(column, everything, 1) == [[0, 3]]
    assert crowd(column, everything, 2) == []


def crowd(column: Column, items: NDArray[np.int32], most: int) -> list[list[int]]:
    """The places of each group."""
    place, group, number = crowded(column, items, most)
    found = Members.of(place, group, len(items), number)
    assert found.sizes().tolist() == [len(found.places_of(each)) for each in range(number)]
    return [found.places_of(each).tolist() for each in range(number)]


def test_an_item_is_in_the_group_of_each_of_its_values() -> None:
    items = np.array([0, 1, 2], np.int32)
    assert crowd(GENRES, items, 0) == [[0], [0, 1]]
    assert crowd(GENRES, items, 1) == [[0, 1]]


def test_members_are_the_pairs_of_a_table() -> None:
    table = np.random.default_rng(1).random((5, 9)) < 0.4
    place, group = np.nonzero(table.T)
    found = Members.of(place, group, 9, 5)
    assert found.sizes().tolist() == table.sum(1).tolist()
    for each in range(5):
        assert found.places_of(each).tolist() == np.flatnonzero(table[each]).tolist()
    for each in range(9):
        assert found.groups_of(each) == np.flatnonzero(table[:, each]).tolist()
    for some in ([], [1], [0, 3]):
        chosen = np.isin(np.arange(5), some)
        assert found.within(chosen).tolist() == table[chosen].any(0).tolist()
