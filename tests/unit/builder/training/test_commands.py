from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from builder import console
from builder.errors import ConfigError
from builder.model.checkpoint import read_config
from builder.progress import silent
from builder.training.commands import train
from builder.unfinished_run import partial_directory

app = typer.Typer()
app.command()(train)

SMALL = ["--width", "8", "--max-history", "4", "--epochs", "2", "--tune-epochs", "1"]


def call(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_train_from_the_command_line(log: Path, backbone: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    arguments = ["--data", log, "--backbone", backbone, "--output", output, *SMALL]
    arguments += ["--pooling", "cls", "--min-events", "2", "--seed", "7"]
    result = call(*arguments)
    for text in ("frozen BERT: full model", "fine-tuned: text alone", "ECE"):
        assert text in result.stdout
    assert f"python -m builder export --checkpoint {output}" in result.stderr
    training = read_config(output)["training"]
    asked = {"width": 8, "max_history": 4, "epochs": 2, "tune_epochs": 1, "pooling": "cls"}
    assert {name: training[name] for name in asked} == asked
    assert (training["seed"], training["data"]["min_events"]) == (7, 2)
    assert training["data"]["directory"] == str(log)


def test_train_for_programs(log: Path, backbone: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    result = call("--data", log, "--backbone", backbone, "--output", output, "--json", *SMALL)
    found = json.loads(result.stdout)
    assert "%" not in result.stderr  # no bars
    assert found["output"] == str(output)
    assert found["rows"] == json.loads((output / "metrics.json").read_text())["rows"]


def test_ctrl_c_says_how_to_continue(log: Path, backbone: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    arguments = ["--data", log, "--backbone", backbone, "--output", output, *SMALL]

    class CtrlC(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("epoch 2"):
                raise KeyboardInterrupt

    logger, handler = logging.getLogger("builder"), CtrlC()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        result = call(*arguments)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert result.exit_code == 130
    assert "repeat the command with --resume" in result.stderr
    assert partial_directory(output).is_dir()
    assert not output.exists()
    assert "fine-tuned: full model" in call(*arguments, "--resume").stdout
    assert output.is_dir()


def test_a_refusal_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "builder", "evaluate", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'run'} is not a checkpoint")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_wrong_options_are_refused_together(log: Path, backbone: Path, tmp_path: Path) -> None:
    arguments = ["--data", log, "--backbone", backbone, "--output", tmp_path / "run"]
    with pytest.raises(ConfigError) as caught:
        call(*arguments, "--width", "0", "--dropout", "1")
    assert "width 0" in str(caught.value)
    assert "dropout 1.0" in str(caught.value)
    refused = call(*arguments, "--pooling", "max")
    assert refused.exit_code == 2
    assert "--pooling" in refused.stderr
    assert "'max' is not one of" in refused.stderr


def test_declaring_the_commands_imports_no_torch() -> None:
    code = (
        "import sys, builder.command_line; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_progress_is_logged_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoded = {0: 0, 20: 1, 40: 2, 60: 3, 80: 4, 100: 400}
    trained = {200: 10, 230: 11, 231: 10, 260: 12, 7_461: 13}  # once from the start again
    moments = iter((*encoded, *trained))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(moments)))
    with caplog.at_level(logging.INFO, "builder"), console.progress_bars() as progress:
        for done in encoded.values():
            progress("encode", done, 400)
        for done in trained.values():
            progress("train", done, 20)
    assert [record.getMessage() for record in caplog.records] == [
        "encode: 2 of 400; about 2 h 13 min left",
        "encode: 4 of 400; about 2 h 12 min left",
        "train: 11 of 20; about 4 min left",
        "train: 13 of 20; about 4 h 41 min left",
    ]


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    terminal = Console(file=drawn, force_terminal=True, width=100)
    monkeypatch.setattr(console, "_STDERR", terminal)
    with console.progress_bars() as progress:
        progress("a moment", 1, 1)
    assert "a moment" not in drawn.getvalue()
    monkeypatch.setattr(console, "_HIDDEN_SECONDS", -1.0)
    with console.progress_bars() as progress:
        for task in ("encode", "train", "encode"):  # the last time from the start again
            for done in range(1, 4):
                progress(task, done, 3)
    assert "encode" in drawn.getvalue()
    assert "3/3" in drawn.getvalue()
    with console.progress_bars(shown=False) as progress:
        assert progress is silent


def test_errors_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error("data[0]: a " + "long " * 40 + "line\nand [another]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "error: data[0]: a " + "long " * 40 + "line", "and [another]",
    ]  # fmt: skip
