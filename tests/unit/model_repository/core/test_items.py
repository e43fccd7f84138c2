from __future__ import annotations

import numpy as np
import pytest

from model_repository.core.items import EDGE, NEIGHBOURS, Neighbourhood, unit, weigh


@pytest.mark.parametrize("items", [1, 2, NEIGHBOURS, 500])
def test_the_most_alike_weigh_most_and_all_of_them_one(items: int) -> None:
    alike = np.random.default_rng(0).normal(size=(3, items)).astype(np.float32)
    place, weight = weigh(alike)
    expected = np.argsort(-alike, axis=1)[:, :NEIGHBOURS]
    np.testing.assert_array_equal(place, expected)
    np.testing.assert_allclose(weight.sum(axis=1), 1, rtol=1e-5)
    assert (np.diff(weight, axis=1) <= 0).all()


def test_another_last_neighbour_changes_next_to_nothing() -> None:
    alike = np.linspace(1, 0, 100, dtype=np.float32)[np.newaxis]
    other = alike.copy()
    other[0, [NEIGHBOURS - 1, NEIGHBOURS]] = other[0, [NEIGHBOURS, NEIGHBOURS - 1]]
    dense = np.zeros((2, 100), np.float32)
    for row, (place, weight) in zip(dense, map(weigh, (alike, other)), strict=True):
        row[place[0]] = weight[0]
    assert np.count_nonzero(dense[0] != dense[1]) == 2
    np.testing.assert_allclose(dense[0], dense[1], atol=2e-5)


def test_items_of_one_text_weigh_the_same() -> None:
    alike = np.array([[0.5] * 30 + [0.9] + [0.1] * 30], np.float32)
    place, weight = weigh(alike)
    of_one_text = weight[0][place[0] < 30]
    assert len(of_one_text) == 30
    np.testing.assert_allclose(of_one_text, of_one_text[0], rtol=1e-5)


def test_what_rounding_leaves_of_a_text_like_all_others_decides_nothing() -> None:
    random = np.random.default_rng(0)
    rounding = 1e-7 * random.normal(size=(2, 64)).astype(np.float32)
    catalogue = unit(random.normal(size=(100, 64)).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(catalogue, axis=1), 1, rtol=1e-5)
    alike = unit(rounding) @ catalogue.T
    assert np.abs(alike).max() < 10 * EDGE  # while all else of two texts counts up to 1


def test_a_new_item_is_as_popular_as_its_neighbours_are_in_the_mean() -> None:
    """Of 1 and 99 events one expects 50, whatever else their biases say."""
    nearby = Neighbourhood(
        np.zeros(2, np.float32),
        np.zeros((2, 1), np.float32),
        np.zeros(1, np.float32),
        np.array([7, 3], np.int32),
        np.array([[1, 0, 0], [1, 0, 0]], np.float32),
        np.array([0.5, 0.1], np.float32),
        np.array([1, 99], np.float32),
    )
    found = nearby.place(np.array([[2, 0]], np.float32), np.zeros((9, 1), np.float32))
    assert found.bias.dtype == np.float32
    np.testing.assert_allclose(found.weights, [[0.5, 0.5]])
    np.testing.assert_allclose(found.bias, [0.3 + np.log(50)], rtol=1e-6)
