"""The command line of the measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from typer.main import get_command

from perf import __main__ as command_line
from perf.errors import PerfError
from perf.measurement import Contender, Measurement, take_turns
from perf.report import BEGIN, END, Report, write_json

COMMANDS: dict[str, Any] = cast("Any", get_command(command_line.app)).commands


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_takes_and_gives_an_example(name: str) -> None:
    assert f"Example: python -m perf {name}" in COMMANDS[name].help
    assert [each.name for each in COMMANDS[name].params if not each.help] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--other", "x"], "'x' is not of the form NAME=PATH"),
        (["run", "--repetitions", "many"], "--repetitions"),
        (["analyze", "decode"], "'decode' is not one of 'recommend', 'rank', 'encode'"),
        (["analyze", "rank", "--rate", "1,0"], "'1,0' is no list of positive numbers"),
        (["catalogue", "--sizes", "1,x"], "'1,x' is no list of positive numbers"),
        (["paint"], "No such command 'paint'"),
    ],
)
def test_a_wrong_option_is_exit_code_2(
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no line is broken
    assert command_line.main(arguments) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--seconds", "-1"], "seconds -1.0: must be above 0"),
        (["run", "--cores", "first"], "--cores first: not cores of this machine"),
        (["catalogue", "--repetitions", "0"], "repetitions 0: must be at least 1"),
        (["engines", "--target", "abacus"], "--target abacus: choose one of"),
        (["table", "missing.json"], "missing.json cannot be read as a report"),
    ],
)
def test_what_cannot_be_done_is_exit_code_1(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert told in err


@pytest.mark.parametrize(
    "error",
    [PerfError("no [bold] peer"), OSError(2, "no [bold] peer"), ValueError("no [bold] peer")],
)
def test_nobody_has_to_read_a_traceback(
    error: Exception,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def fails(_arguments: object) -> NoReturn:
        raise error

    monkeypatch.setattr(command_line, "app", fails)
    assert command_line.main(["run"]) == 1
    told = capsys.readouterr().err
    assert "no [bold] peer" in told
    assert "Traceback" not in told
    assert "python -m builder" not in told


def test_a_server_that_is_not_there_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line.main(["client-overhead", "--address", "localhost:1"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_table_goes_into_each_file_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block = Measurement(1, 1.0, 1.0, 1.0, 1.0)
    results = {"encode-128": take_turns([Contender("ours", lambda _seconds: block)], 1, 0.1)}
    machine = {"processor": "x", "cores": 1, "memory": 1.0, "busy": 0.0}
    report = Report(machine, {}, {"repetitions": 1, "seconds": 1.0}, results)
    write_json(report, tmp_path / "report.json")
    files = [tmp_path / "a.md", tmp_path / "b.md"]
    into = []
    for file in files:
        file.write_text(f"{BEGIN}\n{END}\n")
        into += ["--into", str(file)]
    assert command_line.main(["table", str(tmp_path / "report.json"), *into]) == 0
    assert all("| encode-128 | ours |" in file.read_text() for file in files)
    assert capsys.readouterr().out == ""
    assert command_line.main(["table", str(tmp_path / "report.json"), "--goals"]) == 0
    assert capsys.readouterr().out.startswith("| | measured | goal | |\n")


def test_figures_that_this_machine_has_none_of_are_json_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perf.engines._missing", lambda _target: "a GPU")
    assert command_line.main(["engines", "--json"]) == 0
    assert "it lacks a GPU" in json.loads(capsys.readouterr().out)["skipped"]
