from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from builder.data import Columns, DataConfig
from builder.errors import CheckpointError, DataError
from builder.evaluation.commands import evaluate
from builder.model.checkpoint import load_checkpoint
from builder.training.config import TrainingConfig
from builder.training.run import train

app = typer.Typer()
app.command()(evaluate)


def call(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def run(log: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "run"
    config = TrainingConfig(
        DataConfig(log), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=1
    )
    train(config, output)
    return output


def test_figures_are_those_that_training_ended_with(run: Path) -> None:
    found = json.loads(call(run, "--json"))
    trained = {row["name"]: row for row in json.loads((run / "metrics.json").read_text())["rows"]}
    assert found["checkpoint"] == str(run)
    assert "seen items masked" in found["protocol"]
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == [
        "popularity", "ItemKNN", "EASE", "whole model", "network alone", "text alone",
    ]  # fmt: skip
    for name, row in rows.items():
        expected = trained.get(name) or trained[f"fine-tuned: {name}"]
        assert {**row, "name": ""} == {**expected, "name": ""}


def test_for_people(run: Path) -> None:
    output = call(run, "--no-baselines")
    for text in ("NDCG@10", "HR@10", "MRR", "coverage@10", "ECE", "±", "text alone", "30 users"):
        assert text in output
    assert "popularity" not in output
    assert "full ranking" in output


def moved(log: Path, directory: Path, **changes: Any) -> Path:
    shutil.copytree(log, directory)
    for name, change in changes.items():
        file = directory / f"tiny.{name}"
        file.write_text(change(file.read_text()))
    return directory


def test_data_that_has_moved(run: Path, log: Path, tmp_path: Path) -> None:
    elsewhere = moved(log, tmp_path / "data")
    assert json.loads(call(run, "--data", elsewhere, "--json")) == json.loads(call(run, "--json"))
    with pytest.raises(DataError, match="none"):
        call(run, "--data", tmp_path / "none")


def test_other_items_are_named(run: Path, log: Path, tmp_path: Path) -> None:
    renamed = moved(
        log, tmp_path / "renamed",
        item=lambda text: text.replace("i11\t", "new\t") + "\nextra\ttoy",
    )  # fmt: skip
    with pytest.raises(CheckpointError) as caught:
        call(run, "--data", renamed)
    message = str(caught.value)
    assert "1 that it was trained on are missing (i11)" in message
    assert "2 are not in it (new, extra)" in message
    assert str(renamed) in message
    assert str(run) in message

    def swapped(text: str) -> str:
        header, first, second, *rest = text.splitlines()
        return "\n".join([header, second, first, *rest])

    with pytest.raises(CheckpointError, match="they are in another order"):
        call(run, "--data", moved(log, tmp_path / "swapped", item=swapped))


def test_actions_are_numbered_as_in_training(tmp_path: Path, log: Path, backbone: Path) -> None:
    def with_actions(*names: str) -> Any:
        def change(text: str) -> str:
            header, *events = text.splitlines()
            lines = [f"{line}\t{names[index % 2]}" for index, line in enumerate(events)]
            return "\n".join([f"{header}\taction:token", *lines])

        return change

    first = moved(log, tmp_path / "first", inter=with_actions("view", "buy"))
    # "add" comes before the others in the alphabet, and would move their numbers.
    second = moved(log, tmp_path / "second", inter=with_actions("view", "buy"))
    file = second / "tiny.inter"
    file.write_text(file.read_text() + "\nnew\ti0\t5\tadd")  # too short to be tested on
    output = tmp_path / "run"
    data = DataConfig(first, columns=Columns(action="action"))
    train(TrainingConfig(data, str(backbone), width=8, epochs=2, tune_epochs=0), output)
    assert load_checkpoint(output).actions == ["buy", "view"]
    one, other = (
        json.loads(call(output, "--data", data, "--json", "--no-baselines"))["rows"]
        for data in (first, second)
    )
    assert one == other


def test_damaged_training_options(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    for training in (None, {**config["training"], "width": 0}):
        (copy / "config.json").write_text(json.dumps({**config, "training": training}))
        with pytest.raises(CheckpointError, match="training options are damaged"):
            call(copy)
