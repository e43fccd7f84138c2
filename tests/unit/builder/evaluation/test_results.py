"""Figures against torchmetrics and scipy, and properties that hold whatever the scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torchmetrics.classification import BinaryCalibrationError
from torchmetrics.retrieval import (
    RetrievalHitRate,
    RetrievalMRR,
    RetrievalNormalizedDCG,
    RetrievalRecall,
)

from builder.data import Holdout
from builder.evaluation.beyond_accuracy import ListMetrics
from builder.evaluation.ranking import rank_holdout
from builder.evaluation.report import labelled_logits
from builder.evaluation.results import COMPARED, result
from builder.evaluation.significance import intervals, paired_difference
from builder.evaluation.user_groups import Groups, by_history_length, by_item_popularity
from builder.model.calibration import LabelledLogits, reliability
from model_repository.core.calibration import Calibration
from tests.unit.builder.evaluation.test_ranking import Fixed
from tests.unit.builder.model.tiny import sequences

USERS, ITEMS = 60, 40


@pytest.fixture(scope="module")
def scores() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(USERS, ITEMS)).astype(np.float32)


@pytest.fixture(scope="module")
def held_out() -> Holdout:
    random = np.random.default_rng(1)
    drawn = [random.permutation(ITEMS)[: random.integers(1, 31)] for _ in range(USERS)]
    histories = sequences(*(row[1:].tolist() for row in drawn))
    return Holdout(histories, np.array([row[0] for row in drawn], np.int32))


@pytest.fixture(scope="module")
def list_metrics() -> ListMetrics:
    random = np.random.default_rng(2)
    train = sequences(*(random.integers(0, ITEMS - 5, 6).tolist() for _ in range(20)))
    return ListMetrics.of(train, ITEMS, random.normal(size=(ITEMS, 7)).astype(np.float32))


def test_accuracy_is_torchmetrics_own(
    scores: NDArray[np.float32], held_out: Holdout, list_metrics: ListMetrics
) -> None:
    preds, target, query = [], [], []
    for user in range(USERS):
        seen = held_out.histories.items_of(user)
        competing = np.setdiff1d(np.arange(ITEMS), seen)
        # torchmetrics' recall takes a score of 0 or less as not recommended.
        preds.append(np.exp(scores[user, competing]))
        target.append(competing == held_out.targets[user])
        query.append(np.full(len(competing), user))
    given = [torch.from_numpy(np.concatenate(each)) for each in (preds, target, query)]
    metrics = result("", Fixed(scores.tolist()), held_out, list_metrics).metrics()
    kinds: dict[str, Callable[..., Any]] = {
        "hr": RetrievalHitRate,
        "recall": RetrievalRecall,
        "ndcg": RetrievalNormalizedDCG,
        "mrr": RetrievalMRR,
    }
    for name, kind in kinds.items():
        for k in (5, 10, 20):
            expected = float(kind(top_k=k)(given[0], given[1], indexes=given[2]))
            assert metrics[f"{name}@{k}"] == pytest.approx(expected, abs=1e-6), (name, k)
    assert metrics["mrr"] == pytest.approx(
        float(RetrievalMRR()(given[0], given[1], indexes=given[2])), abs=1e-6
    )


def test_calibration_error_is_torchmetrics_own() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=2_000)
    is_next = random.random(2_000) < 0.3
    calibration = Calibration(1.3, 0.2)
    found = reliability(calibration, LabelledLogits(logits, is_next, np.ones(2_000)))
    interest = torch.from_numpy(calibration.interest(logits))
    expected = BinaryCalibrationError(n_bins=10, norm="l1")(
        interest, torch.from_numpy(is_next).long()
    )
    assert found.error == pytest.approx(float(expected), abs=1e-6)
    assert found.weight.sum() == pytest.approx(1)


def test_lists_are_judged_as_worked_out_by_hand() -> None:
    train = sequences([0, 0, 1], [0], [0, 2])  # 0 is seen by 3 of 3 users, 1 and 2 by one
    list_metrics = ListMetrics.of(train, 4, np.array([[1, 0], [0, 2], [1, 1], [-3, 0]], np.float32))
    found = list_metrics.per_user(np.array([[0, 1], [3, -1], [-1, -1], [0, 3]], np.int32))
    assert found["novelty@10"] == pytest.approx([0.5, 2, 0, 1])  # log2(4/4), log2(4/2), log2(4/1)
    assert found["diversity@10"] == pytest.approx([1, 0, 0, 2])
    # 4 events make 0 the first of four, 1 and 2 share the middle, 3 has none
    assert found["popularity@10"] == pytest.approx(
        [(0.875 + 0.5) / 2, 0.125, 0, (0.875 + 0.125) / 2]
    )


def test_diversity_is_the_mean_over_pairs(list_metrics: ListMetrics) -> None:
    top = np.array([[4, 9, 0, 17]], np.int32)
    assert list_metrics.directions is not None
    cosine = list_metrics.directions[top[0]] @ list_metrics.directions[top[0]].T
    pairs = 1 - cosine[np.triu_indices(4, 1)]
    assert list_metrics.per_user(top)["diversity@10"] == pytest.approx([pairs.mean()], abs=1e-6)


def test_every_user_is_in_one_group_of_each_kind(
    held_out: Holdout, list_metrics: ListMetrics
) -> None:
    for groups in (by_history_length(held_out), by_item_popularity(held_out, list_metrics.counts)):
        assert (np.sum(list(groups.values()), axis=0) == 1).all()


def where(groups: Groups) -> dict[str, list[int]]:
    return {name: np.flatnonzero(members).tolist() for name, members in groups.items()}


def test_groups_by_hand() -> None:
    lengths = Holdout(
        sequences([], [0], [0] * 4, [0] * 5, [0] * 19, [0] * 20), np.zeros(6, np.int32)
    )
    assert where(by_history_length(lengths)) == {
        "0": [0], "1–4": [1, 2], "5–19": [3, 4], "20+": [5],
    }  # fmt: skip
    counts = np.array([0, *range(1, 11)])
    popularity = by_item_popularity(
        Holdout(sequences(*[[]] * 11), np.arange(11, dtype=np.int32)), counts
    )
    assert where(popularity) == {
        "head": [10], "middle": [6, 7, 8, 9], "tail": [1, 2, 3, 4, 5], "no events": [0],
    }  # fmt: skip


def test_intervals_are_scipys() -> None:
    values = np.random.default_rng(4).exponential(size=(300, 2))
    for column, (low, high) in enumerate(intervals(values)):
        expected = stats.bootstrap(
            (values[:, column],), np.mean, method="percentile", rng=np.random.default_rng(5)
        ).confidence_interval
        # Two resamplings differ by chance: far less than the interval is wide.
        assert (low, high) == pytest.approx(tuple(expected), abs=0.1 * (high - low))


def test_what_cannot_be_told_apart_is_not_significant() -> None:
    random = np.random.default_rng(6)
    first = random.random(400)
    shuffled = paired_difference(first, first + random.normal(0, 0.1, 400))
    assert shuffled.p > 0.01
    better = paired_difference(first, first + 0.05 + random.normal(0, 0.1, 400))
    assert better.p < 0.001
    assert better.interval[0] > 0
    assert better.difference == pytest.approx(0.05, abs=0.02)
    worse = paired_difference(first + 0.05, first)
    assert worse.interval[1] < 0
    same = paired_difference(first, first)
    assert (same.difference, same.p) == (0, 1)


def test_the_p_value_is_exact_where_it_can_be_counted() -> None:
    # Of the 2^5 signs only all plus and all minus give a mean this far from 0.
    assert paired_difference(np.zeros(5), np.ones(5)).p == pytest.approx(2 / 32)


def test_one_user_tells_nothing_of_others() -> None:
    found = paired_difference(np.array([0.2]), np.array([0.7]))
    assert found.p == 1
    assert (found.difference, *found.interval) == pytest.approx((0.5, 0.5, 0.5))
    assert paired_difference(np.zeros(2), np.ones(2)).p == 2 / 4


def test_only_what_competes_is_ranked(scores: NDArray[np.float32], held_out: Holdout) -> None:
    among = np.zeros(ITEMS, bool)
    among[::4] = True
    ranking = rank_holdout(Fixed(scores.tolist()), held_out, ITEMS, among=among)
    for user in range(USERS):
        target = held_out.targets[user]
        rivals = set(np.flatnonzero(among)) - set(held_out.histories.items_of(user).tolist())
        better = sum(scores[user, item] >= scores[user, target] for item in rivals - {target})
        assert ranking.rank[user] == better + 1
        assert set(ranking.top[user].tolist()) <= rivals | {target, -1}


def test_a_result_compares_with_itself_as_equal(
    scores: NDArray[np.float32], held_out: Holdout, list_metrics: ListMetrics
) -> None:
    one = result("one", Fixed(scores.tolist()), held_out, list_metrics)
    assert list(one.against(one)) == list(COMPARED)
    assert all(each.p == 1 for each in one.against(one).values())
    groups = one.in_groups(by_history_length(held_out))
    assert groups["0"]["users"] == int((held_out.histories.lengths == 0).sum())
    total = sum(
        each["users"] * each["metrics"]["ndcg@10"] for each in groups.values() if each["users"]
    )
    assert total / USERS == pytest.approx(one.mean("ndcg@10"))


def test_each_group_has_a_calibration_error_of_its_own(
    scores: NDArray[np.float32], held_out: Holdout, list_metrics: ListMetrics
) -> None:
    pairs = labelled_logits(Fixed(scores.tolist()), held_out, seed=1, chunk=3)
    users = pairs.users[pairs.is_next]
    expected = scores[users, held_out.targets[users]]
    assert pairs.logits[pairs.is_next] == pytest.approx(expected)
    calibration = Calibration(0.7, -0.3)
    one = result("one", Fixed(scores.tolist()), held_out, list_metrics, calibration=calibration)
    halves = {"first": np.arange(USERS) < USERS // 2, "last": np.arange(USERS) >= USERS // 2}
    found = one.in_groups(halves)
    assert one.pairs is not None
    for name, members in halves.items():
        part = one.pairs.of(members)
        assert part.is_next.sum() == members.sum()
        promised = reliability(calibration, part)
        assert found[name]["ece"] == promised.error
        assert found[name]["ece_by_chance"] == promised.error_by_chance
    assert found["first"]["ece"] != found["last"]["ece"]


def test_the_same_user_stands_in_the_same_place() -> None:
    random = np.random.default_rng(7)
    first = random.random(400)
    better = first + 0.01
    together, apart = (
        paired_difference(first, each) for each in (better, random.permutation(better))
    )
    assert together.p < 0.001
    assert apart.p > 0.01
    assert together.difference == pytest.approx(apart.difference)
