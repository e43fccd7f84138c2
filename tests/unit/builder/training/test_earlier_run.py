"""Which runs a warm start may continue: those that have not learnt what it is tested on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.data import DataConfig
from builder.errors import CheckpointError, ConfigError
from builder.training.config import TrainingConfig
from builder.training.earlier_run import check_continued, read_training
from builder.training.preparation import prepare
from builder.training.run import train
from tests.unit.builder.training.test_run import config

__all__ = ["config"]

DATA = ("min_rating", "target_actions", "context", "min_events")


def config_of(**options: Any) -> TrainingConfig:
    data = {name: options.pop(name) for name in DATA if name in options}
    return TrainingConfig(DataConfig(Path("data"), **data), "bert", **options)


def write_run(directory: Path, trained: TrainingConfig, *without: str) -> Path:
    options = trained.to_dict()
    for name in without:
        del options["data"][name]
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"format": 2, "training": options}))
    return directory


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ({"refit": "all"}, {}, "trained with --refit all.*continue from a run without it"),
        ({}, {"hold_out_items": 0.1}, "train both without it"),
        ({"hold_out_items": 0.1}, {}, "train both without it"),
        ({"hold_out_items": 0.1}, {"hold_out_items": 0.1}, "train both without it"),
        ({}, {"split": "temporal"}, "with --split leave-one-out, so it may have learnt events"),
        ({"split": "temporal"}, {}, "with --split temporal, so"),
        ({}, {"min_rating": 4}, "with no --min-rating, so"),
        ({"min_rating": 3.5}, {"min_rating": 4}, "with --min-rating 3.5, so.*give the same"),
        ({"min_rating": 4}, {}, "with --min-rating 4, so"),
        (
            {"target_actions": ("buy", "cart")},
            {"target_actions": ("buy",), "min_rating": 4},
            "with no --min-rating, --target-actions buy,cart, so.*or leave --warm-start out",
        ),
        (
            {"split": "temporal", "min_rating": 4},
            {"split": "temporal", "min_rating": 4, "context": "drop", "min_events": 3},
            "with --min-events 1, --context keep, so",
        ),
    ],
)
def test_a_run_that_may_have_learnt_the_test_is_not_continued(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any], message: str
) -> None:
    run = write_run(tmp_path / "run", config_of(**before))
    with pytest.raises(ConfigError, match=f"^--warm-start {run}: .*{message}"):
        check_continued(config_of(**now), run)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {}),
        ({}, {"seed": 3, "width": 32, "refit": "all", "max_history": 9}),
        ({"split": "temporal", "refit": "none"}, {"split": "temporal", "context": "drop"}),
        ({"target_actions": ("buy", "cart")}, {"target_actions": ("cart", "buy")}),
        # The last target of a user is the same one.
        ({"min_rating": 4, "context": "drop"}, {"min_rating": 4, "min_events": 5}),
    ],
)
def test_a_run_with_the_same_test_is_continued(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any]
) -> None:
    check_continued(config_of(**now), write_run(tmp_path / "run", config_of(**before)))


def test_a_run_of_before_there_was_context_had_none(tmp_path: Path) -> None:
    temporal: dict[str, Any] = {"split": "temporal"}
    plain = write_run(tmp_path / "plain", config_of(**temporal), "context", "target_actions")
    check_continued(config_of(**temporal), plain)
    rated: dict[str, Any] = {**temporal, "min_rating": 4}
    run = write_run(tmp_path / "rated", config_of(**rated), "context", "target_actions")
    with pytest.raises(ConfigError, match="with --context drop, so"):
        check_continued(config_of(**rated), run)


def test_options_that_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": 2, "training": {"width": 0}}))
    with pytest.raises(
        CheckpointError, match=r"training options are damaged (?s:.+); train again$"
    ):
        read_training(tmp_path)


def test_a_training_asks_before_it_reads_the_log(config: TrainingConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(replace(config, epochs=1, tune_epochs=0, refit="none"), run)
    other = replace(
        config, data=DataConfig(tmp_path / "none"), split="temporal", warm_start=str(run)
    )
    with pytest.raises(ConfigError, match="with --split leave-one-out, so"):
        prepare(other, tmp_path / "tokenizer")
