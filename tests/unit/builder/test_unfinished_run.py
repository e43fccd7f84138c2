from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from builder import unfinished_run
from builder.command_line import app
from builder.errors import CheckpointError, ConfigError
from builder.unfinished_run import name_of, partial_directory

OPTIONS = {"seed": 0, "epochs": 2}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_lives_beside_its_output() -> None:
    assert partial_directory(Path("runs/first")) == Path("runs/first.partial")
    assert name_of(Path("runs/first.partial")) == name_of(Path("runs/first")) == "first"


def test_a_run_is_begun_continued_and_finished() -> None:
    output = Path("runs/first/")
    partial = partial_directory(output)
    unfinished_run.check(output, OPTIONS, resume=False)
    assert not Path("runs").exists()
    unfinished_run.begin(output, OPTIONS)
    (partial / "half").touch()
    unfinished_run.check(output, OPTIONS, resume=True)
    with pytest.raises(ConfigError, match="other options for seed; repeat"):
        unfinished_run.check(output, OPTIONS | {"seed": 1}, resume=True)
    unfinished_run.begin(output, OPTIONS)
    assert not (partial / "half").exists()
    (partial / "config.json").touch()
    unfinished_run.finish(partial, output)
    assert [str(path) for path in sorted(Path().rglob("*"))] == [
        "runs", "runs/first", "runs/first/config.json",
    ]  # fmt: skip


@pytest.mark.parametrize("output", [".", "/", "", "a/..", "there/..", "there", "there/", "file"])
def test_what_exists_is_refused_before_anything_is_made(output: str, here: Path) -> None:
    Path("there").mkdir()
    Path("file").touch()
    with pytest.raises(ConfigError, match="exists; choose another"):
        unfinished_run.check(Path(output), OPTIONS, resume=False)
    assert sorted(path.name for path in here.iterdir()) == ["file", "there"]
    assert not Path("/.partial").exists()


def test_no_run_is_made_inside_a_file(here: Path) -> None:
    Path("file").touch()
    with pytest.raises(ConfigError, match="a part of this path is a file"):
        unfinished_run.begin(Path("file/run"), OPTIONS)
    assert [path.name for path in here.iterdir()] == ["file"]


def test_there_must_be_something_to_continue() -> None:
    with pytest.raises(ConfigError, match=r"no interrupted run at run\.partial; leave"):
        unfinished_run.check(Path("run"), OPTIONS, resume=True)
    Path("run.partial").mkdir()
    Path("run.partial/training.json").write_text("{")
    with pytest.raises(ConfigError, match="not written to its end"):
        unfinished_run.check(Path("run"), OPTIONS, resume=True)


def test_a_complete_run_stays_where_its_name_was_taken_meanwhile() -> None:
    partial = partial_directory(Path("run"))
    unfinished_run.begin(Path("run"), OPTIONS)
    Path("run").mkdir()
    Path("run/other").touch()
    with pytest.raises(CheckpointError, match=r"complete at run\.partial but could not be renamed"):
        unfinished_run.finish(partial, Path("run"))
    assert partial.is_dir()


@pytest.mark.parametrize("path", [".", "/", ""])
@pytest.mark.parametrize(
    "command", [["evaluate"], ["export", "--checkpoint"], ["export", "--classifier"]]
)
def test_what_reads_a_run_takes_any_directory_for_what_it_is(command: list[str], path: str) -> None:
    done = CliRunner().invoke(app, [*command, path])
    assert isinstance(done.exception, SystemExit) or type(done.exception).__name__ == (
        "CheckpointError"
    ), done.exception
