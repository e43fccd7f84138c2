"""Items without training events: moved in a list as in the whole catalogue."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core.arrays import Indices
from model_repository.core.cold_items import lift, lifts, merged
from model_repository.core.top_k import largest

ITEMS = 14


def ranks(*of: int) -> Indices:
    return np.array(of, np.int32)


@pytest.mark.parametrize(
    ("cold", "rank", "expected"),
    [
        (-5.0, 2, 8.5),  # halfway between 4 and 3
        (-5.0, 4, 6.5),
        (3.2, 3, 0.0),  # further forward by itself
        (2.6, 2, 0.9),
        (-np.inf, 2, 0.0),  # all are masked
        (-5.0, 0, 0.0),
        (-5.0, 5, 0.0),  # there are four others
    ],
)
def test_the_best_cold_item_comes_between_two_others(
    cold: float, rank: int, expected: float
) -> None:
    known = np.array([[4, 3, 2, 1]], np.float32)
    assert lift(known, np.array([cold], np.float32), ranks(rank)) == pytest.approx([expected])


def test_where_too_few_others_are_left_nothing_moves() -> None:
    known = np.array([[4, 3, -np.inf], [4, 3, 2]], np.float32)
    found = lift(known, np.array([-5, -5], np.float32), ranks(3, 3))
    assert found.tolist() == [0, 7.5]


def test_each_user_has_a_rank() -> None:
    known = np.array([[4, 3, 2]] * 3, np.float32)
    found = lift(known, np.array([-5, -5, -5], np.float32), ranks(2, 0, 3))
    assert found.tolist() == [8.5, 0, 7.5]


@given(
    seed=st.integers(0, 9_999),
    cold_items=st.integers(1, 6),
    of=st.lists(st.sampled_from([0, 2, 3, 5, 8, 2 * ITEMS]), min_size=1, max_size=3),
    wanted=st.integers(1, ITEMS),
    masked=st.sampled_from([0, 0.3, 0.8]),
)
def test_in_a_list_as_in_the_whole_catalogue(
    seed: int, cold_items: int, of: list[int], wanted: int, masked: float
) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(of), ITEMS)).astype(np.float32)
    logits[random.random(logits.shape) < masked] = -np.inf
    cold = np.sort(random.choice(ITEMS, cold_items, replace=False)).astype(np.int32)

    whole = logits.copy()
    whole[:, cold] += lifts(logits, cold, ranks(*of))[:, np.newaxis]
    expected = np.take_along_axis(whole, largest(whole, wanted), 1)

    known = logits.copy()
    known[:, cold] = -np.inf
    places = largest(known, min(max(wanted, *of), ITEMS))
    best = np.take_along_axis(known, places, 1)
    found, items = merged(best, places, logits[:, cold], cold, ranks(*of), wanted)
    np.testing.assert_array_equal(found, expected)
    # Each stands for its own item, and for one alone.
    left = np.isfinite(found)
    np.testing.assert_array_equal(np.take_along_axis(whole, items, 1)[left], found[left])
    for row, kept in zip(items, left, strict=True):
        assert len(set(row[kept].tolist())) == kept.sum()
