from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.data import DataConfig, leave_one_out
from builder.training.config import TrainingConfig
from builder.training.data_dependent_defaults import (
    Plan,
    choose_max_history,
    choose_tune_texts,
    plan_stages,
)
from tests.unit.builder.model.tiny import sequences


def config(**options: Any) -> TrainingConfig:
    return TrainingConfig(data=DataConfig(Path("data")), backbone="bert", **options)


def plan(windows: int, events: int, **options: Any) -> Plan:
    return plan_stages(config(**options), windows, events)


@pytest.mark.parametrize(
    ("windows", "events", "batch", "steps"),
    [
        (1_100, 53_000, 64, 18),  # long histories: some 3,000 events a step
        (940, 940, 64, 15),  # a single event each: still some steps an epoch
        (20_000, 20_000, 1_024, 20),  # many short ones: not hundreds of nearly empty steps
        (100_000, 2_000_000, 128, 782),  # many: steps of the same size, more of them
        (20, 60, 16, 2),
    ],
)
def test_a_step_is_some_thousand_events(windows: int, events: int, batch: int, steps: int) -> None:
    found = plan(windows, events)
    assert found.batch_size == batch
    rounds = found.adapter.rounds // TrainingConfig.epochs
    assert rounds * found.adapter.steps == pytest.approx(steps, abs=rounds)
    assert found.adapter.steps <= 200
    assert found.adapter.warmup <= 200


def test_tuning_costs_the_same_whatever_the_log() -> None:
    small, large = plan(940, 940), plan(100_000, 2_000_000)
    assert small.tuning.total == large.tuning.total
    assert choose_tune_texts(config(), [20, 60] * 500) == 100
    assert choose_tune_texts(config(), [20, 60] * 160) == 80
    assert choose_tune_texts(config(), [2] * 3_000) == 512
    assert choose_tune_texts(config(), [512] * 3_000) == 64
    assert choose_tune_texts(config(), [20] * 100) == 64
    assert choose_tune_texts(config(tune_texts=7), [512]) == 7


@pytest.mark.parametrize(
    ("windows", "events", "patience"),
    [(1_100, 53_000, 15), (20, 60, 15), (20_000, 20_000, 14), (100_000, 2_000_000, 5)],
)
def test_patience_is_about_as_many_steps_whatever_the_log(
    windows: int, events: int, patience: int
) -> None:
    assert plan(windows, events).patience == patience
    assert plan(windows, events, patience=3).patience == 3


def test_what_was_asked_for_is_done() -> None:
    found = plan(1_100, 53_000, batch_size=100, tune_epochs=3, epochs=2)
    assert found.batch_size == 100
    assert (found.adapter.total, found.tuning.total) == (22, 33)
    assert plan(1_100, 53_000, tune_epochs=0).tuning.total == 0


@pytest.mark.parametrize(("length", "expected"), [(4, 20), (50, 49), (300, 200)])
def test_histories_are_as_long_as_those_that_will_be_asked_about(
    length: int, expected: int
) -> None:
    split = leave_one_out(sequences(*[list(range(length))] * 20, list(range(1_000))))
    assert choose_max_history(config(), split.test.histories) == expected
    assert choose_max_history(config(max_history=3), split.test.histories) == 3
