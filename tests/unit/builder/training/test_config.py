from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from builder.data import Columns, DataConfig
from builder.errors import ConfigError
from builder.training.commands import train
from builder.training.config import TrainingConfig, learning_layers

DATA = DataConfig(Path("data"), columns=Columns(time="when"), min_rating=4.0)


def config(**options: Any) -> TrainingConfig:
    return TrainingConfig(data=DATA, backbone="bert", **options)


def test_every_problem_is_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        config(
            width=63, heads=2, layers=0, dropout=1.0, learning_rate=0.0, pooling="max",
            weight_decay=-1.0, tune_learning_rate=float("nan"), warmup_epochs=float("inf"),
            seed=2**32, freeze="0", lora_rank=-1, loss="hinge", contrastive=-1,
            adversarial=1, label_smoothing=1, text_pull=-0.1, task_weights="learnt",
        )  # fmt: skip
    message = str(caught.value)
    for problem in (
        "width 63: must be a multiple of heads, 2", "layers 0: must be at least 1",
        "dropout 1.0: must be at least 0 and below 1", "learning_rate 0.0: must be above 0",
        "pooling 'max': must be one of auto, mean, cls, attention",
        "weight_decay -1.0: must be at least",
        "tune_learning_rate nan: must be a finite", "warmup_epochs inf: must be a finite number",
        f"seed {2**32}: must be at least 0 and below",
        "freeze '0': must be all, embeddings, none, N or -N", "lora_rank -1: must be at least 0",
        "loss 'hinge': must be one of softmax, sampled", "contrastive -1: must be at least 0",
        "adversarial: needs embeddings that learn; give freeze none",
        "text_pull -0.1: must be at least 0",
        "task_weights 'learnt': must be one of fixed, uncertainty",
        "label_smoothing 1: must be at least 0 and below 1",
    ):  # fmt: skip
        assert problem in message
    assert len(message.splitlines()) == 18


def test_round_trip_through_json() -> None:
    asked = config(width=32, pooling="cls")
    assert TrainingConfig.from_dict(json.loads(json.dumps(asked.to_dict()))) == asked


@pytest.mark.parametrize(
    ("freeze", "learning"),
    [("all", 0), ("5", 1), ("1", 5), ("embeddings", 6), ("none", 7), ("-2", 2), ("-9", 6)],
)
def test_what_learns_of_six_layers(freeze: str, learning: int) -> None:
    assert learning_layers(config(freeze=freeze).freeze, 6) == learning


def test_low_rank_updates_leave_the_embeddings() -> None:
    with pytest.raises(ConfigError, match="lora_rank: LoRA does not train the embeddings"):
        config(lora_rank=4, freeze="none")


def test_late_items_are_those_of_some_share() -> None:
    assert config(hold_out_items=0.1, hold_out="late").hold_out == "late"
    with pytest.raises(ConfigError, match="hold_out late: give hold_out_items too"):
        config(hold_out="late")


def test_a_run_of_an_earlier_version_can_be_read() -> None:
    formerly = {"tune_layers": 3, "optimiser": "sgd", "layer_decay": 0.9, "loss": "bce"}
    assert TrainingConfig.from_dict({**config().to_dict(), **formerly}) == config()


def test_a_dictionary_that_is_not_ours() -> None:
    with pytest.raises(ConfigError, match="there is no colour\n  backbone is missing"):
        TrainingConfig.from_dict({"data": DATA.to_dict(), "colour": 1})


def test_the_command_has_every_option_with_the_default_of_the_configuration() -> None:
    offered = {
        name: parameter.default for name, parameter in inspect.signature(train).parameters.items()
    }
    for field in fields(TrainingConfig):
        if field.name in ("data", "backbone"):  # required, by the flag or the file
            continue
        assert offered[field.name] == field.default
