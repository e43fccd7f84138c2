"""Where the commands look for a repository unless told, and what they say if there is none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from builder.command_line import app
from builder.errors import BuilderError
from builder.repository import DEFAULT_REPOSITORY
from tests.unit.builder.repository.repositories import publish

EARLIER = "model_repository"
READERS = (
    "serve", "versions", "activate 1", "doctor --triton-image 26.08", "add-items --items items.csv",
    "play",
)  # fmt: skip
readers = pytest.mark.parametrize("command", READERS)


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("items.csv").write_text("item,title\n")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():  # `serve` sets its own
        signal.signal(number, handler)


def problem(command: str) -> str:
    """What a command that fails says of its repository."""
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code != 0
    if isinstance(done.exception, BuilderError):
        return str(done.exception)
    (error,) = [line for line in done.output.splitlines() if line.startswith("error")]
    return error


def test_every_command_has_the_same_default() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    defaults = {
        name: option.default
        for name, command in commands.items()
        for option in command.params
        if option.name == "repository"
    }
    readers = {command.split()[0] for command in READERS}
    assert defaults == dict.fromkeys({*readers, "export", "demo"}, DEFAULT_REPOSITORY)
    assert Path("repository") == DEFAULT_REPOSITORY


@readers
@pytest.mark.parametrize("empty", [False, True], ids=["missing", "empty"])
def test_the_place_of_earlier_versions_is_named_if_it_holds_one(
    command: str, *, empty: bool
) -> None:
    publish(Path(EARLIER), "one")
    if empty:
        Path("repository").mkdir()
    said = problem(command)
    assert "model_repository, where exports went before, holds one" in said
    assert said.endswith(f"`python -m builder serve --repository {EARLIER}`")


@readers
def test_modules_alone_are_no_repository(command: str) -> None:
    Path(EARLIER).mkdir()
    Path(EARLIER, "engine.py").touch()
    assert problem(command).endswith("create one with `python -m builder export`")


@readers
def test_of_another_directory_nothing_is_guessed(command: str) -> None:
    publish(Path(EARLIER), "one")
    said = problem(f"{command} --repository elsewhere")
    assert said.endswith("create one with `python -m builder export`")


def test_the_place_of_earlier_versions_can_be_named() -> None:
    publish(Path(EARLIER), "one")
    done = CliRunner().invoke(app, ["versions", "--repository", EARLIER])
    assert "runs/one" in done.output
