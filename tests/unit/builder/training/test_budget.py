from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from builder.data import Sequences
from builder.errors import ConfigError
from builder.evaluation.ranking import rank_holdout
from builder.evaluation.report import Row, model_rows
from builder.reports.trained_run import load_run
from builder.training import budget as budgets
from builder.training.budget import FILE, Budget
from builder.training.config import TrainingConfig
from builder.training.data_dependent_defaults import Schedule
from builder.training.run import train
from builder.training.windows import Windows
from tests.unit.builder.model.tiny import ITEMS, sequences
from tests.unit.builder.training.test_commands import call
from tests.unit.builder.training.test_run import config

__all__ = ["config"]


class Clock:
    """Stands still unless it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(budgets, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


USUAL = Schedule(12, 25, 30)


@pytest.mark.parametrize(
    ("seconds", "step", "validate", "expected"),
    [
        (1e6, 1.0, 1.0, (12, 25)),  # all of it
        (120.0, 1.0, 0.0, (12, 10)),
        (120.0, 1.0, 10.0, (3, 30)),  # a quarter for validations
        (120.0, 1.0, 100.0, (1, 20)),
        (5.0, 1.0, 100.0, (1, 0)),
    ],
)
def test_as_many_steps_as_fit(
    seconds: float, step: float, validate: float, expected: tuple[int, int]
) -> None:
    found = budgets._fitting(USUAL, seconds, step, validate)
    assert (found.rounds, found.steps) == expected
    assert found.warmup <= max(1, found.total // 10)
    if found.steps:
        assert found.total * step + found.rounds * validate <= max(seconds, 1e6 * (seconds >= 1e6))


@pytest.mark.usefixtures("clock")
def test_the_first_stage_leaves_time_for_the_others(tmp_path: Path) -> None:
    def until(minutes: float, **asked: Any) -> float:
        return Budget(minutes, tmp_path).first_stage(**asked)._until

    assert until(10, again=False, least=0) == pytest.approx(540)
    assert until(10, again=False, least=60) == pytest.approx(270)
    assert until(10, again=True, least=60) == pytest.approx(135)
    # No time for the second stage: the first one has it.
    assert until(1, again=False, least=60) == pytest.approx(54)


def test_what_an_interrupted_run_has_used_counts(tmp_path: Path, clock: Clock) -> None:
    first = Budget(2, tmp_path)
    clock.now += 30
    with first.measured("assemble"):
        clock.now += 20
    again = Budget(2, tmp_path)
    again.resume()
    assert again.used == pytest.approx(50)
    assert again.left == pytest.approx(70)
    assert again.takes("assemble") == pytest.approx(20)
    (tmp_path / FILE).write_text("{")
    other = Budget(2, tmp_path)
    other.resume()
    assert other.used == 0


def test_a_second_training_that_does_not_fit_is_left_out(tmp_path: Path, clock: Clock) -> None:
    def budget() -> Budget:
        found = Budget(1, tmp_path)
        found.told_step("adapter", 0.1)
        found.told_step("tuning", 1.0)
        return found

    assert budget().has_time_again([100, 40], tested=5)
    late = budget()
    assert not late.has_time_again([100, 50], tested=5)
    assert "the second training, which would take 60 s where 55 s are left" in late.left_out[0]
    late = budget()
    clock.now += 20
    assert not late.has_time_again([100, 40], tested=5)


@pytest.mark.parametrize("fits", [True, False])
def test_whether_there_is_a_second_training_is_decided_once(
    tmp_path: Path, clock: Clock, *, fits: bool
) -> None:
    """It may have begun, or ended, when the run is interrupted."""
    first = Budget(1, tmp_path)
    first.told_step("adapter", 0.1 if fits else 1.0)
    assert first.has_time_again([100], tested=5) == fits
    clock.now += 50
    first.keep()
    again = Budget(1, tmp_path)
    again.resume()
    again.told_step("adapter", 0.2 if fits else 0.0)
    assert again.has_time_again([100], tested=5) == fits


def test_the_bar_knows_the_time_left(tmp_path: Path, clock: Clock) -> None:
    told: list[tuple[str, int, int]] = []
    progress = Budget(1, tmp_path).watched(lambda *each: told.append(each))
    progress("encode", 1, 2)
    progress("encode", 1, 2)
    clock.now += 7.5
    progress("encode", 2, 2)
    clock.now += 100
    progress("train", 1, 2)
    assert [each[1:] for each in told if each[0].startswith("budget")] == [
        (0, 60), (7, 60), (60, 60),
    ]  # fmt: skip


def each_step_takes(clock: Clock, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    before = budgets.EndInTime.on_step_end

    def slow(self: Any, *given: Any, **more: Any) -> None:
        clock.now += seconds
        before(self, *given, **more)

    monkeypatch.setattr(budgets.EndInTime, "on_step_end", slow)
    monkeypatch.setattr(budgets, "_seconds_of_a_step", lambda *_: seconds)


class Moved(nn.Module):
    """Notes where it is moved to, and where what it is given lies."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[str] = []
        self.given: set[str] = set()
        self.latest = torch.zeros(ITEMS)
        self.weight = nn.Parameter(torch.ones(()))

    @property
    def text(self) -> Moved:
        return self

    def to(self, device: torch.device) -> Moved:  # type: ignore[override]
        self.moves.append(device.type)
        return self

    def cpu(self) -> Moved:
        return self.to(torch.device("cpu"))

    def forward(self, *texts: torch.Tensor, **batch: torch.Tensor) -> Any:
        self.given |= {each.device.type for each in (*texts, *batch.values())}
        self.latest += 1
        return torch.zeros(()) if texts else {"loss": 2 * self.weight}


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "training_device", lambda: torch.device("meta"))


@pytest.mark.usefixtures("on_a_gpu")
def test_the_second_stage_is_measured_where_it_will_run() -> None:
    for measure in (
        lambda objective: budgets._seconds_of_a_step(objective, Windows(sequences([0, 1]), 4), 2),
        budgets._seconds_of_texts,
    ):
        moved: Any = Moved()
        measure(moved)
        assert moved.moves == ["meta", "cpu"]
        assert moved.given == {"meta"}
        assert not moved.latest.any()
        assert moved.weight.grad is None


@pytest.mark.usefixtures("on_a_gpu")
def test_whether_the_second_stage_fits_is_measured_where_each_part_will_run(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which the texts take a second on a GPU, and four without."""
    moved: Any = Moved()

    def encode(encoder: Moved, *_: Any) -> None:
        clock.now += 1 if encoder.moves[-1:] == ["meta"] else 4

    monkeypatch.setattr(budgets, "encode_texts", encode)
    tokenizer: Any = lambda texts: [SimpleNamespace(tokens=[0] * 10) for _ in texts]  # noqa: E731
    found = budgets.least_of_tuning(moved, tokenizer, ["text"] * 64, 0.5)
    assert found == pytest.approx(budgets.FEWEST_STEPS * 3 * 0.5 * 1 + 4 + 1)
    assert moved.moves == ["meta", "cpu"]


def test_a_trainer_takes_a_gpu_where_there_is_one() -> None:
    assert budgets.training_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_training_ends_in_time_and_says_what_it_left_out(
    config: TrainingConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock on which each step of the first stage takes 8 s."""
    clock = Clock(monkeypatch)
    each_step_takes(clock, 8, monkeypatch)
    monkeypatch.setattr(budgets, "least_of_tuning", lambda *_: 1000.0)
    monkeypatch.setattr("builder.training.learning.least_of_tuning", lambda *_: 1000.0)
    patient = replace(config, patience=100, epochs=100)
    with caplog.at_level(logging.INFO, "builder"):
        rows = train(patient, tmp_path / "run", minutes=2)
    # Half of the time for a second training, nothing for the second stage.
    assert clock.now - 1000 == pytest.approx(0.9 * 60, abs=8)
    assert "there is no time for the second stage" in caplog.text
    assert "of 2 min are used; left out for lack of time: the second stage" in caplog.text
    assert {row.name.split(":")[0] for row in rows} == {"frozen BERT", "trained again"}
    assert not (tmp_path / "run" / FILE).exists()


def test_both_stages_and_the_second_training_are_shortened(
    config: TrainingConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock on which each step of both stages takes 2 s."""
    clock = Clock(monkeypatch)
    each_step_takes(clock, 2, monkeypatch)
    monkeypatch.setattr(budgets, "FEWEST_STEPS", 2)
    monkeypatch.setattr("builder.training.learning.better", lambda _, tuned: tuned)
    monkeypatch.setattr("builder.training.learning.least_of_tuning", lambda *_: 1.0)
    patient = replace(config, patience=1000, epochs=100_000, tune_epochs=12)
    with caplog.at_level(logging.INFO, "builder"):
        rows = train(patient, tmp_path / "run", minutes=2)
    assert {row.name.split(":")[0] for row in rows} >= {"frozen BERT", "fine-tuned"}
    # 14 steps of the first stage, as many again are to come, and half of what is left.
    assert clock.now - 1000 == 2 * (14 + 12)
    assert "12 of 24 steps of the second stage" in caplog.text


def test_baselines_learn_no_more_than_a_model_whose_second_training_was_left_out(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(Budget, "has_time_again", lambda *_: False)
    counted: list[Sequences] = []

    def rows_of(name: str, model: Any, test: Any, log: Sequences, **more: Any) -> list[Row]:
        counted.append(log)
        return model_rows(name, model, test, log, **more)

    monkeypatch.setattr("builder.training.run.model_rows", rows_of)
    rows = train(replace(config, tune_epochs=0), run, minutes=1e6)
    assert {row.name.split(":")[0] for row in rows} == {"frozen BERT"}
    found = load_run(run)
    assert found.split.refit is None
    assert [len(log.items) for log in counted] == [len(found.split.counted.items)]
    figure = rank_holdout(found.model.scorer(log=found.split.counted), found.split.test, ITEMS)
    assert figure.ndcg(10) == pytest.approx(rows[0].metrics["ndcg@10"])
    # Before it was written, there was no telling.
    written = json.loads((run / "config.json").read_text())
    assert written.pop("trained_again") is False
    (run / "config.json").write_text(json.dumps(written))
    assert load_run(run).split.refit is not None


def test_a_budget_is_minutes_and_for_one_process(
    log: Path,
    backbone: Path,
    config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ["--data", log, "--backbone", backbone, "--output", tmp_path / "run"]
    for wrong in ("0", "-1", "nan", "inf"):
        with pytest.raises(ConfigError, match=r"--budget .*: must be a number of minutes"):
            call(*arguments, "--budget", wrong)
    monkeypatch.setattr("builder.training.run.world", lambda: 2)
    with pytest.raises(ConfigError, match="start without torchrun"):
        train(config, tmp_path / "run", minutes=1)
    assert not list(tmp_path.iterdir())


def test_a_run_is_resumed_with_its_own_budget(config: TrainingConfig, tmp_path: Path) -> None:
    """With another one, less might fit than is done already."""
    output = tmp_path / "run"

    def interrupt(task: str, _done: int, _total: int) -> None:
        if task == "train the network":
            raise KeyboardInterrupt

    for begun, other in ((None, 5.0), (5.0, None), (5.0, 6.0)):
        with pytest.raises(KeyboardInterrupt):
            train(config, output, minutes=begun, progress=interrupt)
        with pytest.raises(ConfigError, match="the interrupted run had other options for budget;"):
            train(config, output, minutes=other, resume=True)
    with pytest.raises(KeyboardInterrupt):
        train(config, output, minutes=5.0, resume=True, progress=interrupt)
