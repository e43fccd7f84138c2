from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.data import Sequences
from builder.model.linear import LinearTerm, item_neighbours, recency_weights
from builder.model.scoring import linear_scores
from tests.unit.builder.model.tiny import sequences

histories = st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=6)
ITEMS = 8  # item 7 is cold


def binary(train: Sequences) -> NDArray[np.float64]:
    seen = np.zeros((len(train), ITEMS))
    for user in range(len(train)):
        seen[user, train.items_of(user)] = 1
    return seen


def test_items_without_events_have_no_neighbours() -> None:
    term = item_neighbours(sequences([0, 1], [1, 2]), ITEMS, shrinkage=1.0, keep=4)
    matrix = term.matrix.toarray()
    assert not matrix[3:].any()
    assert not matrix[:, 3:].any()
    assert matrix[0, 1] > 0


@given(histories, st.sampled_from([0.0, 2.5]))
def test_neighbours_are_shrunk_cosines(users: list[list[int]], shrinkage: float) -> None:
    train = sequences(*users)
    seen = binary(train)
    together = seen.T @ seen
    norm = np.sqrt(np.diag(together))
    bottom = norm[:, None] * norm + shrinkage
    expected = np.divide(together, bottom, out=np.zeros_like(together), where=together > 0)
    np.fill_diagonal(expected, 0)
    found = item_neighbours(train, ITEMS, shrinkage=shrinkage, keep=ITEMS).matrix.toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_pruning_keeps_the_strongest_of_either_sign() -> None:
    matrix = np.array([[0, 3, -5, 1], [0, 0, 0, 0], [2, -2, 0, 1], [-1, 4, 2, 0]], np.float32)
    term = LinearTerm.pruned(matrix, 2)
    expected = [[0, 3, -5, 0], [0, 0, 0, 0], [2, -2, 0, 0], [0, 4, 2, 0]]
    assert term.matrix.toarray().tolist() == expected
    assert term.index.shape == term.value.shape == (4, 2)
    assert term.index.dtype == np.int32


def test_pruning_dense_and_sparse_is_the_same() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(9, 9)).astype(np.float32) * (random.random((9, 9)) < 0.5)
    dense = LinearTerm.pruned(matrix, 20)  # more than there are
    assert dense.index.shape == (9, 9)
    np.testing.assert_array_equal(dense.matrix.toarray(), matrix)
    for keep in (1, 3):
        np.testing.assert_array_equal(
            LinearTerm.pruned(matrix, keep).matrix.toarray(),
            LinearTerm.pruned(dense.matrix, keep).matrix.toarray(),
        )


@given(histories, st.integers(1, 9), st.sampled_from([1.0, 0.8, 0.5]))
def test_an_event_weighs_less_with_each_later_one(
    users: list[list[int]], max_history: int, decay: float
) -> None:
    expected = np.zeros((len(users), ITEMS), np.float32)
    for user, items in enumerate(users):
        for age, item in enumerate(reversed(items[-max_history:])):
            expected[user, item] += decay**age
    found = recency_weights(sequences(*users), ITEMS, decay=decay, max_history=max_history)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)


def test_linear_scores_add_up_by_hand() -> None:
    matrix = np.array([[0, 1, 0], [2, 0, 3], [0, 0, 0]], np.float32)
    term = LinearTerm.pruned(matrix, 3).weighted(decay=0.5, weight=7.0)
    scores = linear_scores(term, sequences([0, 1], [1, 1, 0], []), 2)
    # The third user is new; of the second only the last two events count.
    assert scores.tolist() == pytest.approx(np.array([[2, 0.5, 3], [1, 1, 1.5], [0, 0, 0]]))
