"""Weights of the tasks whose losses a training adds up."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, load_model, save_model
from transformers import TrainingArguments

from builder.training.config import TrainingConfig
from builder.training.gradient_accumulation import accumulated_step
from builder.training.learning import _loss
from builder.training.losses import contrastive
from builder.training.objective import Loss, NextItemObjective, TuningObjective
from builder.training.run import train
from builder.training.tasks import LEARNING_RATE, TaskWeights
from builder.training.text_vectors import FrozenTextVectors
from builder.training.trainer import NextItemTrainer
from builder.training.windows import Windows
from builder.unfinished_run import partial_directory
from tests.unit.builder.model.tiny import ITEMS, adapter, sequences
from tests.unit.builder.training.test_objective import BATCH, POPULARITY
from tests.unit.builder.training.test_run import config, figures

__all__ = ["config"]

ALL = Loss(contrastive=0.3, text_pull=0.5)
LEARNT = replace(ALL, task_weights="uncertainty")
S = {"next": 0.7, "contrast": -0.4, "pull": 0.2}


def made(loss: Loss, kind: type[NextItemObjective] = TuningObjective) -> NextItemObjective:
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(ITEMS, 16, generator=generator)
    more: dict[str, Any] = {} if kind is NextItemObjective else {"text_vectors": text}
    objective = kind(
        adapter(dropout=0), FrozenTextVectors(text), POPULARITY, id_dropout=0.0,
        feature_dropout=0.0, loss=loss, **more,
    )  # fmt: skip
    if kind is TuningObjective:
        with torch.no_grad():  # so that the texts are not where they are drawn to
            objective.whole += torch.randn(ITEMS, 8, generator=generator)  # type: ignore[operator]
    return objective


def with_weights(objective: NextItemObjective) -> NextItemObjective:
    with torch.no_grad():
        for task, s in objective.tasks.s.items():
            s.fill_(S[task])
    return objective


def alone() -> dict[str, float]:
    """What each task of `ALL` has at its fixed weight."""
    with torch.no_grad():
        found = made(ALL)._item_vectors(torch.arange(ITEMS))
        targets = torch.unique(BATCH["targets"][BATCH["targets"] >= 0])
        known = POPULARITY > 0
        pull = (found.text - found.item).square().sum(1)[known].mean()
        nothing_else = made(Loss(text_pull=0.0))(**BATCH)["loss"]
    return {
        "next": float(nothing_else),
        "contrast": float(0.3 * contrastive(found.text[targets], found.item[targets])),
        "pull": float(0.5 * pull),
    }


def test_tasks_count_by_their_fixed_weights() -> None:
    expected = alone()
    assert min(expected.values()) > 0.01
    assert float(made(ALL)(**BATCH)["loss"].detach()) == pytest.approx(sum(expected.values()))
    # Without an option the pull counts as much as the next item.
    usual = float(made(Loss())(**BATCH)["loss"].detach())
    assert usual == pytest.approx(expected["next"] + expected["pull"] / 0.5)


def test_learnt_weights_begin_at_the_fixed_ones() -> None:
    fixed, learnt = made(ALL), made(LEARNT)
    losses = [objective(**BATCH)["loss"] for objective in (fixed, learnt)]
    assert losses[0] == losses[1]
    for loss in losses:
        loss.backward()
    of_learnt = dict(learnt.named_parameters())
    for name, parameter in fixed.named_parameters():
        assert (parameter.grad is None) == (of_learnt[name].grad is None)
        if parameter.grad is not None:
            torch.testing.assert_close(of_learnt[name].grad, parameter.grad, msg=name)


def test_uncertainty_by_hand() -> None:
    objective = with_weights(made(LEARNT))
    loss = objective(**BATCH)["loss"]
    loss.backward()
    expected = alone()
    assert objective.tasks.s.keys() == S.keys()
    total = sum(exp(-S[task]) * expected[task] + S[task] for task in S)
    assert float(loss.detach()) == pytest.approx(total)
    for task, s in objective.tasks.s.items():
        assert float(s.grad) == pytest.approx(1 - exp(-S[task]) * expected[task], rel=1e-4), task


@pytest.mark.parametrize("kind", [NextItemObjective, TuningObjective])
@pytest.mark.parametrize("pieces", [2, 3])
def test_pieces_have_the_gradients_of_the_whole(kind: type[NextItemObjective], pieces: int) -> None:
    """Of two histories one has 4 targets and the other 2; the third piece is empty."""
    objective = with_weights(made(LEARNT, kind)).train()
    whole = objective(**BATCH)["loss"]
    whole.backward()
    expected = {name: each.grad for name, each in objective.named_parameters()}
    assert sum(name.startswith("tasks.") for name in expected) == (2 + (kind is TuningObjective))
    objective.zero_grad()
    torch.testing.assert_close(accumulated_step(objective, BATCH, pieces), whole.detach())
    for name, parameter in objective.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], msg=name)


@pytest.mark.parametrize(
    ("kind", "loss", "tasks"),
    [
        (NextItemObjective, Loss(), []),
        (TuningObjective, ALL, []),
        (NextItemObjective, LEARNT, ["next", "contrast"]),
        (TuningObjective, LEARNT, ["next", "contrast", "pull"]),
        (TuningObjective, replace(LEARNT, contrastive=0.0), ["next", "pull"]),
        (TuningObjective, replace(LEARNT, text_pull=0.0), ["next", "contrast"]),
        # One alone has nothing to be weighed against.
        (NextItemObjective, replace(LEARNT, contrastive=0.0), []),
        (TuningObjective, Loss(text_pull=0.0, task_weights="uncertainty"), []),
    ],
)
def test_each_task_that_there_is_has_a_weight_where_weights_are_learnt(
    kind: type[NextItemObjective], loss: Loss, tasks: list[str]
) -> None:
    torch.manual_seed(0)
    state = made(loss, kind).state_dict()
    drawn = torch.rand(1)
    assert {name for name in state if name.startswith("tasks")} == {f"tasks.s.{t}" for t in tasks}
    torch.manual_seed(0)
    made(Loss(), kind)
    assert torch.rand(1) == drawn


def test_a_weight_comes_to_rest_where_its_task_counts_1() -> None:
    tasks = TaskWeights("uncertainty", ("one", "other"))
    optimiser = torch.optim.AdamW(tasks.parameters(), lr=LEARNING_RATE)
    for _ in range(300):
        optimiser.zero_grad()
        (tasks("one", torch.tensor(6.0)) + tasks("other", torch.tensor(0.5))).backward()
        optimiser.step()
    found = {task: float(torch.exp(s.detach())) for task, s in tasks.s.items()}
    assert found == pytest.approx({"one": 6.0, "other": 0.5}, rel=0.05)


def test_what_a_run_is_told_is_what_is_minimised(config: TrainingConfig) -> None:
    assert _loss(config) == Loss()
    asked = replace(
        config, loss="sampled", contrastive=0.2, text_pull=0.3, task_weights="uncertainty"
    )
    assert _loss(asked) == Loss("sampled", 0.0, 0.2, 0.3, "uncertainty")


def test_weights_go_on_where_they_were_interrupted(config: TrainingConfig, tmp_path: Path) -> None:
    asked = replace(config, contrastive=0.2, task_weights="uncertainty")
    train(asked, tmp_path / "undisturbed")

    def interrupt(task: str, done: int, _total: int) -> None:
        if task == "train BERT along" and done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "run", progress=interrupt)
    (state,) = partial_directory(tmp_path / "run").glob("tuning/checkpoint-*/model.safetensors")
    learnt = {name: s for name, s in load_file(state).items() if name.startswith("tasks.")}
    assert learnt.keys() == {"tasks.s.next", "tasks.s.contrast", "tasks.s.pull"}
    assert all(s.any() for s in learnt.values())
    train(asked, tmp_path / "run", resume=True)
    assert figures(tmp_path / "run") == figures(tmp_path / "undisturbed")


def test_weights_learn_at_their_own_rate_without_decay_and_are_kept(tmp_path: Path) -> None:
    objective = with_weights(made(LEARNT))
    trainer = NextItemTrainer(
        objective,
        TrainingArguments(
            output_dir=str(tmp_path), learning_rate=0.5, weight_decay=0.1, report_to=[],
            use_cpu=True,
        ),
        Windows(sequences([0, 1, 2]), 4),
        None,  # type: ignore[arg-type] # nothing is validated here
        encoder_learning_rate=0.01,
    )  # fmt: skip
    groups = trainer.create_optimizer().param_groups
    of = {
        each: (group["lr"], group["weight_decay"]) for group in groups for each in group["params"]
    }
    assert {of[s] for s in objective.tasks.s.values()} == {(LEARNING_RATE, 0.0)}
    assert of[objective.adapter.project.weight] == (0.5, 0.1)
    save_model(objective, str(tmp_path / "state"))
    begun = made(LEARNT)
    load_model(begun, tmp_path / "state")
    assert {task: float(s.detach()) for task, s in begun.tasks.s.items()} == pytest.approx(S)
