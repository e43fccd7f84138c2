from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from builder.data import Sequences
from builder.model import ease as module
from builder.model.ease import dense_ease, ease, sparse_ease
from tests.unit.builder.model.tiny import sequences

histories = st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=6)
ridges = st.sampled_from([0.5, 3.0, 100.0])
ITEMS = 8  # item 7 is cold
MANY = 400


def binary(train: Sequences) -> NDArray[np.float64]:
    seen = np.zeros((len(train), ITEMS))
    for user in range(len(train)):
        seen[user, train.items_of(user)] = 1
    return seen


def ridge_solution(
    seen: NDArray[np.float64], item: int, by: NDArray[np.int64], ridge: float
) -> NDArray[np.float64]:
    """Least squares of what was seen of an item on the items `by`."""
    x, y = seen[:, by], seen[:, item]
    solution: NDArray[np.float64] = np.linalg.solve(x.T @ x + ridge * np.eye(len(by)), x.T @ y)
    return solution


@given(histories, ridges)
def test_ease_solves_the_ridge_problem_of_each_item(users: list[list[int]], ridge: float) -> None:
    """Column i: least squares of what was seen of i on all others, i itself forced to 0."""
    train = sequences(*users)
    found = dense_ease(train, ITEMS, regularisation=ridge)
    for item in range(ITEMS):
        others = np.delete(np.arange(ITEMS), item)
        solution = ridge_solution(binary(train), item, others, ridge)
        np.testing.assert_allclose(found[others, item], solution, atol=1e-5)
        assert found[item, item] == 0


@pytest.mark.parametrize("users", [[[0, 1, 2], [2, 3], [4, 5, 6, 0]], [[*range(ITEMS)], [1, 4]]])
def test_ease_is_the_same_in_blocks(
    users: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = sequences(*users)
    whole = dense_ease(train, ITEMS, regularisation=1.0)
    monkeypatch.setattr(module, "_BLOCK", 3)
    np.testing.assert_array_equal(dense_ease(train, ITEMS, regularisation=1.0), whole)


@given(histories, ridges)
def test_sparse_ease_is_the_dense_one_where_all_items_are_near(
    users: list[list[int]], ridge: float
) -> None:
    train = sequences(*users, [*range(7)])  # the last user has seen any two items together
    found = sparse_ease(train, ITEMS, regularisation=ridge, nearest=ITEMS)
    expected = dense_ease(train, ITEMS, regularisation=ridge)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)


@given(histories, ridges, st.integers(1, 3))
def test_sparse_ease_solves_the_ridge_problem_on_the_items_that_explain_most(
    users: list[list[int]], ridge: float, nearest: int
) -> None:
    train = sequences(*users)
    seen = binary(train)
    together = seen.T @ seen
    found = sparse_ease(train, ITEMS, regularisation=ridge, nearest=nearest)
    for item in range(ITEMS):
        column = found[:, [item]].tocoo()
        by = np.sort(column.coords[0])
        others = np.delete(np.arange(ITEMS), item)
        gain = together[others, item] ** 2 / (np.diag(together)[others] + ridge)
        assert len(by) == min(nearest, np.count_nonzero(gain))
        best = np.sort(gain)[::-1][: len(by)]
        chosen = together[by, item] ** 2 / (np.diag(together)[by] + ridge)
        np.testing.assert_allclose(np.sort(chosen)[::-1], best, rtol=1e-5)  # equal ones may do
        solution = ridge_solution(seen, item, by, ridge)
        np.testing.assert_allclose(found.toarray()[by, item], solution, atol=1e-5)


@pytest.fixture(scope="module")
def many() -> Sequences:
    random = np.random.default_rng(0)
    return sequences(*[random.integers(0, MANY - 1, 30).tolist() for _ in range(200)])


@pytest.mark.parametrize("most", [1, 30])
def test_sparse_ease_is_the_same_in_groups_and_blocks(
    many: Sequences, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sparse_ease(many, MANY, regularisation=10.0, nearest=20)
    again = sparse_ease(many, MANY, regularisation=10.0, nearest=20)
    np.testing.assert_array_equal(again.toarray(), whole.toarray())
    monkeypatch.setattr(module, "_GROUP", most)
    monkeypatch.setattr("builder.model.linear._MOST_PAIRS", 7 * MANY)
    parts = sparse_ease(many, MANY, regularisation=10.0, nearest=20)
    np.testing.assert_array_equal(parts.toarray(), whole.toarray())


def test_sparse_ease_holds_no_matrix_of_all_items(
    many: Sequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither dense nor sparse: of what is counted, all but a few rows are always forgotten."""
    shapes = []
    for kind in (sparse.csr_array, sparse.csc_array):
        multiply = kind.__matmul__

        def told(
            self: sparse.csr_array, other: sparse.csr_array, multiply: object = multiply
        ) -> sparse.csr_array:
            product = multiply(self, other)  # type: ignore[operator]
            shapes.append(product.shape)
            return product

        monkeypatch.setattr(kind, "__matmul__", told)
    monkeypatch.setattr(module, "_GROUP", 40)
    monkeypatch.setattr("builder.model.linear._MOST_PAIRS", 7 * MANY)
    sparse_ease(many, MANY, regularisation=10.0, nearest=20)
    blocks = [shape for shape in shapes if shape[1] == MANY]
    groups = [shape for shape in shapes if shape[1] != MANY]
    assert {rows for rows, _ in blocks} <= {7, MANY % 7}
    assert len(groups) > 1
    assert all(rows == columns <= 40 for rows, columns in groups)


def test_items_without_events_have_no_entries() -> None:
    train = sequences([0, 1], [1, 2])
    for matrix in (
        dense_ease(train, ITEMS, regularisation=1.0),
        sparse_ease(train, ITEMS, regularisation=1.0).toarray(),
    ):
        assert not matrix[3:].any()
        assert not matrix[:, 3:].any()
        assert matrix[0, 1] > 0


def test_nobody_has_seen_two_items() -> None:
    assert not sparse_ease(sequences([0], [1], []), ITEMS, regularisation=1.0).toarray().any()


def test_a_large_catalogue_is_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    train = sequences([0, 1, 2], [1, 2])
    told: list[tuple[str, int, int]] = []
    assert isinstance(ease(train, ITEMS, regularisation=1.0), np.ndarray)
    monkeypatch.setattr(module, "DENSE_LIMIT", ITEMS - 1)
    monkeypatch.setattr(module, "_GROUP", 3)
    found = ease(train, ITEMS, regularisation=1.0, progress=lambda *each: told.append(each))
    assert sparse.issparse(found)
    assert told == [("EASE", done, ITEMS) for done in (0, 3, 6, ITEMS)]
