"""Baselines learn what there is to learn."""

from __future__ import annotations

import numpy as np

from builder.data import Holdout
from builder.evaluation.als import ImplicitALS, implicit_als
from builder.evaluation.baselines import baselines, recency_ease
from builder.evaluation.ranking import rank_holdout
from tests.unit.builder.model.tiny import sequences, split_of


def holdout(target: int, *history: int) -> Holdout:
    return Holdout(sequences(list(history)), np.array([target], np.int32))


def test_als_learns_what_is_met_together() -> None:
    train = sequences(*[[0, 1, 2]] * 8, *[[3, 4, 5]] * 9)
    als = implicit_als(split_of(train, holdout(2, 0, 1)), 7)
    assert rank_holdout(als, holdout(2, 0, 1), 7).rank.tolist() == [1]
    assert rank_holdout(als, holdout(5, 4, 3), 7).rank.tolist() == [1]


def test_als_folds_in_users_that_it_does_not_know() -> None:
    train = sequences(*[[0, 1, 2]] * 8, *[[3, 4, 5]] * 9)
    als = ImplicitALS(train, 7, factors=4, regularisation=1.0, weight=1.0)
    both = als.scores(sequences([0, 1], [3], []))
    assert both.shape == (3, 7)
    assert np.argmax(both[1][[2, 5]]) == 1
    np.testing.assert_allclose(als.scores(sequences([3]))[0], both[1], atol=1e-5)
    assert not both[2].any()


def test_recency_is_used_where_it_helps() -> None:
    # The last seen item decides: 0 leads to 1, 2 leads to 3, whatever came before.
    train = sequences(*[[0, 1]] * 9, *[[2, 3]] * 8)
    scorer = recency_ease(split_of(train, holdout(3, 0, 2)), 4).final
    assert rank_holdout(scorer, holdout(3, 0, 2), 4).rank.tolist() == [1]
    assert rank_holdout(scorer, holdout(1, 2, 0), 4).rank.tolist() == [1]


def test_tuning_and_ranking_say_how_far_they_are() -> None:
    told: list[tuple[str, int, int]] = []
    train = sequences([0, 1, 2], [1, 2, 3], [0, 2, 3])
    baselines(split_of(train, holdout(3, 0, 2)), 4, progress=lambda *each: told.append(each))
    for task, total in (("tune ItemKNN", 3), ("tune EASE", 4)):
        assert [each[1:] for each in told if each[0] == task] == [
            (done, total) for done in range(total + 1)
        ]
