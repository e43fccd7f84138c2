"""What exploration costs, and whether uncertainty is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from builder.data import DataConfig, Holdout
from builder.data.sequences import Sequences
from builder.reports.trained_run import TrainedRun
from builder.training.config import TrainingConfig
from perf.exploration import RATES, measure, table
from perf.uncertainty import bootstrap_rank, halved, likelihood
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences, split_of


def test_more_exploration_changes_more_of_the_lists(backbone: Path, tmp_path: Path) -> None:
    log = sequences(*[[]] * 20)
    test = Holdout(log, np.array([user % ITEMS for user in range(20)], np.int32))
    config = TrainingConfig(DataConfig(tmp_path), str(backbone))
    found = measure(TrainedRun(tmp_path, recommender(backbone), config, split_of(log, test)))
    assert [(each.explore, each.rate) for each in found][1:] == list(RATES)[1:]
    assert found[0].changed == 0
    changed = {(each.explore, each.rate): each.changed for each in found}
    assert changed["softmax", 1] > changed["softmax", 0.1]
    assert changed["greedy", 0.3] > 0
    assert all(0 < each.smallest <= 1 for each in found)
    assert "| thompson | 1 |" in table(found)


def test_what_is_said_of_variances_is_judged() -> None:
    random = np.random.default_rng(0)
    expected = random.uniform(1, 50, 2_000)
    variance = np.where(np.arange(2_000) % 2, 0.01, 1.0).astype(np.float64)
    found = random.poisson(expected * random.gamma(1 / variance, variance)).astype(float)
    right = likelihood(found, expected, variance)
    for wrong in (variance * 3, variance / 3, np.full(2_000, variance.mean())):
        assert right > likelihood(found, expected, wrong)


def test_a_log_is_halved_and_resampled() -> None:
    random = np.random.default_rng(0)
    often = 1 / np.arange(1, 41)
    items = [random.choice(40, 12, replace=False, p=often / often.sum()) for _ in range(80)]
    log = Sequences(
        [str(user) for user in range(80)], np.arange(81) * 12,
        np.concatenate(items).astype(np.int32), times=None, actions=None,
    )  # fmt: skip
    found = halved(log, 0)
    assert 200 < found.events < 450
    assert np.isfinite([found.certain, found.constant, found.by_events]).all()
    assert bootstrap_rank(log) < 0
