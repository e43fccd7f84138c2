from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.data import Holdout, Sequences
from builder.evaluation import ranking as ranking_module
from builder.evaluation.baselines import Popularity, baselines
from builder.evaluation.ranking import (
    Ranking,
    best_items,
    rank_holdout,
    rank_scores,
    ranks_by_weight,
)
from builder.evaluation.report import row
from tests.unit.builder.model.tiny import sequences, split_of


class Fixed:
    """Scores that are known beforehand, handed out in the order of the users."""

    def __init__(self, scores: list[list[float]]) -> None:
        self._scores = {f"u{user}": np.array(row, np.float32) for user, row in enumerate(scores)}

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        return np.stack([self._scores[user] for user in histories.user_ids])


def holdout(targets: list[int], *histories: list[int]) -> Holdout:
    return Holdout(sequences(*histories), np.array(targets, np.int32))


def test_figures_worked_out_by_hand() -> None:
    scores = [
        [9.0, 5.0, 4.0, 3.0, 1.0],  # item 0 seen; target 2 is behind 1: rank 2
        [1.0, 2.0, 3.0, 4.0, 5.0],  # nothing seen; target 4: rank 1
        [5.0, 4.0, 3.0, 2.0, 1.0],  # 1 seen; target 4 is behind 0, 2 and 3: rank 4
    ]
    held_out = holdout([2, 4, 4], [0], [], [1])
    ranking = rank_holdout(Fixed(scores), held_out, 5)
    assert ranking.rank.tolist() == [2, 1, 4]
    assert ranking.hit_rate(1) == pytest.approx(1 / 3)
    assert ranking.hit_rate(2) == pytest.approx(2 / 3)
    assert ranking.ndcg(10) == pytest.approx((1 / math.log2(3) + 1 + 1 / math.log2(5)) / 3)
    assert ranking.ndcg(2) == pytest.approx((1 / math.log2(3) + 1) / 3)
    assert ranking.mrr() == pytest.approx((1 / 2 + 1 + 1 / 4) / 3)
    assert ranking.top[0].tolist() == [1, 2, 3, 4, -1]
    assert ranking.coverage(1) == pytest.approx(3 / 5)  # items 1, 4 and 0 come first
    gains = [1 / math.log2(3), 1.0, 1 / math.log2(5)]
    figures = row("fixed", Fixed(scores), held_out, 5)
    assert figures.metrics == ranking.metrics()
    assert figures.ndcg_standard_error == pytest.approx(np.std(gains, ddof=1) / math.sqrt(3))


def test_it_is_told_how_many_users_were_ranked() -> None:
    told: list[int] = []
    held_out = holdout([0, 1, 0], [], [], [])
    rank_holdout(Fixed([[1.0, 2.0]] * 3), held_out, 2, chunk=2, ranked=told.append)
    assert told == [2, 1]


def test_coverage_does_not_count_what_was_seen() -> None:
    ranking = rank_holdout(Fixed([[1.0, 2.0, 3.0]]), holdout([0], [1, 2]), 3)
    assert ranking.coverage(10) == pytest.approx(1 / 3)


@pytest.mark.parametrize("place", [(0, 0), (1, 2)])
def test_a_nan_is_an_error_and_not_the_first_rank(place: tuple[int, int]) -> None:
    scores = np.zeros((2, 3), np.float32)
    scores[place] = np.nan
    message = f"item index {place[1]} for user row {place[0]} is NaN"
    with pytest.raises(ValueError, match=message):
        rank_holdout(Fixed(scores.tolist()), holdout([0, 1], [], []), 3)


def test_ties_stand_before_the_target() -> None:
    ranking = rank_holdout(Fixed([[1.0, 1.0, 1.0, 0.0]]), holdout([1], []), 4)
    assert ranking.rank.tolist() == [3]


def test_a_scorer_that_knows_nothing_gets_nothing() -> None:
    ranking = rank_holdout(Fixed([[0.5] * 30] * 3), holdout([0, 7, 29], [], [], []), 30)
    assert ranking.rank.tolist() == [30, 30, 30]
    assert ranking.ndcg(10) == ranking.hit_rate(20) == 0


def test_infinite_scores_are_no_way_round() -> None:
    infinities = [[-np.inf, -np.inf, 0.0], [np.inf, np.inf, 0.0]]
    ranking = rank_holdout(Fixed(infinities), holdout([0, 0], [], []), 3)
    assert ranking.rank.tolist() == [3, 2]


def test_equal_scores_keep_the_order_of_the_catalogue() -> None:
    scores = np.array([[1, 2, 1, 2, 1]], np.float32)
    assert best_items(scores, 5).tolist() == [[1, 3, 0, 2, 4]]
    many = np.random.default_rng(0).integers(0, 3, (1, 500)).astype(np.float32)
    best = best_items(many, 500)[0].tolist()
    assert best == sorted(range(500), key=lambda item: -many[0, item])


def test_a_target_that_was_met_before_still_counts() -> None:
    ranking = rank_holdout(Fixed([[3.0, 2.0, 1.0]]), holdout([0], [0, 1]), 3)
    assert ranking.rank.tolist() == [1]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[float]], list[list[int]], list[int]]:
    items = draw(st.integers(2, 15))
    users = draw(st.integers(1, 5))
    # Few distinct values, so that there are many ties.
    value = st.sampled_from([-1.5, -0.25, 0.0, 0.5, 2.0])
    item = st.integers(0, items - 1)
    rows = st.lists(value, min_size=items, max_size=items)
    return (
        draw(st.lists(rows, min_size=users, max_size=users)),
        draw(st.lists(st.lists(item, max_size=6), min_size=users, max_size=users)),
        draw(st.lists(item, min_size=users, max_size=users)),
    )


@given(cases(), st.integers(1, 40), st.booleans())
def test_ranks_by_weight_are_those_of_each_sum(
    case: tuple[list[list[float]], list[list[int]], list[int]], cached: int, of_items: bool
) -> None:
    rows, histories, targets = case
    base, held_out = np.array(rows, np.float32), holdout(targets, *histories)
    added = base[::-1, ::-1].copy()
    added = added[0] if of_items else added
    before = base.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking_module, "_CACHED", cached)  # users in one part, or in several
        found = ranks_by_weight(base, added, (0, 0.3, -2), held_out)
    for ranks, weight in zip(found, (0, 0.3, -2), strict=True):
        scores = base + np.float32(weight) * added
        assert ranks.tolist() == rank_scores(scores, held_out.histories, held_out.targets).tolist()
    np.testing.assert_array_equal(base, before)


def test_a_nan_of_any_weight_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_module, "_CACHED", 3)  # one user at a time
    base, added = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    added[1, 2] = np.nan
    with pytest.raises(ValueError, match="item index 2 for user row 1 is NaN"):
        ranks_by_weight(base, added, (0, 1), holdout([0, 1], [], []))


@given(cases(), st.integers(1, 3), st.integers(1, 12))
def test_agrees_with_sorting_by_hand(
    case: tuple[list[list[float]], list[list[int]], list[int]], chunk: int, k: int
) -> None:
    scores, histories, targets = case
    items = len(scores[0])
    ranking = rank_holdout(Fixed(scores), holdout(targets, *histories), items, chunk=chunk)
    gains, shown = [], set()
    for row_scores, history, target in zip(scores, histories, targets, strict=True):
        competing = [item for item in range(items) if item == target or item not in history]
        # The worst order that the scores allow: the target behind all that tie with it.
        order = sorted(competing, key=lambda item: (-row_scores[item], item == target))
        place = order.index(target) + 1
        gains.append(1 / math.log2(1 + place) if place <= k else 0.0)
        shown |= set(sorted(competing, key=lambda item: (-row_scores[item], item))[:k])
    assert ranking.ndcg(k) == pytest.approx(np.mean(gains))
    assert ranking.coverage(k) == pytest.approx(len(shown) / items)


@given(cases(), st.randoms())
def test_ranks_do_not_depend_on_the_order_of_users(
    case: tuple[list[list[float]], list[list[int]], list[int]], random: Random
) -> None:
    scores, histories, targets = case
    order = list(range(len(targets)))
    random.shuffle(order)

    def ranks(users: list[int]) -> list[int]:
        found: list[int] = rank_scores(
            np.array([scores[user] for user in users], np.float32),
            sequences(*(histories[user] for user in users)),
            np.array([targets[user] for user in users], np.int32),
        ).tolist()
        return found

    straight = ranks(list(range(len(targets))))
    assert ranks(order) == [straight[user] for user in order]


def test_popularity_counts_training_events() -> None:
    scores = Popularity(sequences([0, 1, 1], [1, 2]), 4).scores(sequences([0], []))
    assert scores.tolist() == [[1, 3, 1, 0]] * 2


def test_baselines_learn_what_is_met_together() -> None:
    train = sequences(*[[0, 1, 2]] * 8, *[[3, 4, 5]] * 9)
    validation = holdout([2, 5], [0, 1], [3, 4])
    found = baselines(split_of(train, validation), 7)
    assert list(found) == ["popularity", "ItemKNN", "EASE"]
    ranks = {
        name: rank_holdout(scorer, validation, 7).rank.tolist() for name, scorer in found.items()
    }
    assert ranks["ItemKNN"] == ranks["EASE"] == [1, 1]
    assert ranks["popularity"][0] > 1


def test_baselines_learn_the_validation_events_in_the_end() -> None:
    train = sequences(*[[0, 1]] * 8, *[[2], [3]] * 8)
    validation = holdout([1], [0])
    found = baselines(split_of(train, validation), 4)
    again = baselines(split_of(train, validation, sequences(*[[2, 3]] * 9)), 4)
    for name in ("ItemKNN", "EASE"):
        assert rank_holdout(found[name], holdout([3], [2]), 4).rank.tolist() != [1]
        assert rank_holdout(again[name], holdout([3], [2]), 4).rank.tolist() == [1]
    assert again["popularity"].scores(sequences([0])).tolist() == [[0, 0, 9, 9]]


def test_an_empty_history_ranks() -> None:
    train = sequences([0, 1], [1, 2])
    for scorer in baselines(split_of(train, holdout([0], [1])), 3).values():
        assert isinstance(rank_holdout(scorer, holdout([0], []), 3), Ranking)
