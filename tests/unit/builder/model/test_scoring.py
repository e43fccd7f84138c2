"""Ranks of cold items in a list."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.evaluation.ranking import best_items, rank_scores
from builder.model.recommender import Recommender
from builder.model.scoring import TorchUserEncoder, catalogue_of, histories_of, with_cold_items
from model_repository.core.scoring import Scorer
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences

COLD = np.isin(np.arange(ITEMS), [2, 5, 7])
histories = st.lists(st.integers(0, ITEMS - 1), max_size=6)


def logits_of(seed: int, users: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(users, ITEMS)).astype(np.float32)


def expected_list(logits: NDArray[np.float32], history: list[int], place: int) -> list[int]:
    """The best cold item at ``place`` of the items left or before it, the others as far from it."""
    left = [item for item in np.argsort(-logits, kind="stable") if item not in history]
    known, cold = ([i for i in left if COLD[i] == kind] for kind in (False, True))
    if len(known) < place or not cold:
        return left
    middle = (logits[known[place - 2]] + logits[known[place - 1]]) / 2
    moved = np.where(COLD, logits + max(middle - logits[cold[0]], 0), logits)
    return sorted(left, key=lambda item: -moved[item])


@settings(deadline=None)
@given(seed=st.integers(0, 99), history=histories, place=st.integers(2, ITEMS - 3))
def test_the_best_cold_item_comes_at_its_place_and_the_others_keep_their_distance(
    seed: int, history: list[int], place: int
) -> None:
    logits = logits_of(seed)
    found = with_cold_items(logits, COLD, sequences(history), place)
    moved = (found - logits)[0]
    assert not moved[~COLD].any()
    np.testing.assert_allclose(moved[COLD], moved[COLD][0], rtol=1e-4, atol=1e-6)
    rank_scores(found, sequences(history), np.array([0], np.int32))
    if 0 in history:
        found[0, 0] = -np.inf
    expected = expected_list(logits[0], history, place)
    assert best_items(found, ITEMS)[0][: len(expected)].tolist() == expected
    left = [item for item in expected if COLD[item]]
    if left and len(expected) - len(left) >= place:
        assert expected.index(left[0]) <= place - 1


def test_each_user_has_another_shift() -> None:
    logits = logits_of(0, users=3) - 5 * COLD
    moved = with_cold_items(logits, COLD, sequences([], [], []), 2) - logits
    assert len(set(moved[:, COLD][:, 0].round(3))) == 3


@pytest.mark.parametrize(
    ("cold", "place"),
    [(COLD, 0), (np.zeros(ITEMS, bool), 2)],
)
def test_nothing_moves_without_cold_items_or_without_their_place(
    cold: NDArray[np.bool_], place: int
) -> None:
    logits = logits_of(0)
    assert with_cold_items(logits, cold, sequences([]), place) is logits


@pytest.fixture(scope="module")
def model(backbone: Path) -> Recommender:
    return replace(recommender(backbone), warm=~COLD, cold_limit=3)


@pytest.mark.parametrize(
    ("items", "cold", "limit", "expected"),
    [
        (1000, 100, 2, 6),  # one of each ten places: 5 or 6
        (1000, 200, 2, 3),
        (1000, 200, 7, 7),
        (1000, 900, 2, 2),
        (1000, 20, 2, 26),
        (1000, 1, 2, 50),
        (1000, 0, 2, 0),
        (1000, 100, 0, 0),
    ],
)
def test_the_place_is_by_the_share_of_cold_items_and_never_before_the_limit(
    model: Recommender, items: int, cold: int, limit: int, expected: int
) -> None:
    grown = replace(model, warm=np.arange(items) >= cold, cold_limit=limit)
    assert grown.cold_rank == expected


def test_only_the_whole_model_moves_them(model: Recommender) -> None:
    asked = sequences([0, 3])
    adapter = copy.deepcopy(model.adapter)
    with torch.no_grad():
        adapter.bias[COLD] -= 20
    model = replace(model, adapter=adapter)
    for part in ("network", "text"):
        scorer = model.scorer(part)
        np.testing.assert_array_equal(scorer.scores(asked), scorer.logits(asked))
    full = model.scorer()
    assert (full.scores(asked) != full.logits(asked))[0].tolist() == COLD.tolist()


@settings(deadline=None, max_examples=50)
@given(history=histories, place=st.sampled_from([0, *range(2, ITEMS - 2)]))
def test_a_served_list_has_them_where_the_checkpoint_has_them(
    model: Recommender, history: list[int], place: int
) -> None:
    model = replace(model, cold_limit=place)
    asked = sequences(history)
    served = Scorer(catalogue_of(model), TorchUserEncoder(model.adapter))
    users = served.users(histories_of(asked, model.adapter.config.max_history))
    (found,) = served.best(users, [np.unique(np.array(history, np.int32))], [ITEMS])
    expected = model.scorer().scores(asked)[0]
    assert sorted(found.index) == sorted(set(range(ITEMS)) - set(history))
    np.testing.assert_allclose(found.logit, expected[found.index], rtol=1e-4, atol=1e-4)
    assert (np.diff(found.logit) <= 0).all()
