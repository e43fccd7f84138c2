from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from builder.command_line import app
from builder.errors import ConfigError
from builder.options import Given, check, command, names, option


@dataclass(frozen=True)
class Baking:
    oven: str
    kind: Literal["rye", "wheat"] = option("rye", "Flour [of any mill].")
    hours: int | None = option(None, "In the oven.", metavar="HOURS", at_least=1, below=10)
    salt: float = option(0.1, "Share of it.", above=0)
    seeds: tuple[str, ...] = option(
        (), "On top.", flag="--seed", typed=str | None, parse=names, panel="Extras"
    )

    def __post_init__(self) -> None:
        check(self, "baking", ["the oven is cold"] if self.oven == "cold" else [])


@pytest.fixture
def baked() -> tuple[typer.Typer, list[Baking]]:
    found: list[Baking] = []

    @command
    def bake(
        *,
        oven: Annotated[str, typer.Option(help="Its [name].")] = "hot",
        baking: Given[Baking],
    ) -> None:
        found.append(baking.make(oven=oven))

    made = typer.Typer(add_completion=False)
    made.command()(bake)
    return made, found


def test_fields_are_flags(baked: tuple[typer.Typer, list[Baking]]) -> None:
    made, found = baked
    runner = CliRunner()
    assert runner.invoke(made, []).exit_code == 0
    given = ["--kind", "wheat", "--hours", "2", "--seed", "poppy, sesame", "--oven", "warm"]
    assert runner.invoke(made, given).exit_code == 0
    assert found == [Baking("hot"), Baking("warm", "wheat", 2, 0.1, ("poppy", "sesame"))]
    wrong = runner.invoke(made, ["--kind", "oats"])
    assert wrong.exit_code == 2
    assert "--kind" in wrong.stderr
    assert "'oats' is not one of" in wrong.stderr


def test_help_shows_brackets_as_they_are(baked: tuple[typer.Typer, list[Baking]]) -> None:
    told = CliRunner().invoke(baked[0], ["--help"]).stdout
    for text in ("Flour [of any mill].", "Its [name].", "HOURS", "rye|wheat", "Extras", "--seed"):
        assert text in told


def test_problems_are_told_together() -> None:
    values: dict[str, Any] = {"kind": "oats", "hours": 10, "salt": float("inf")}
    with pytest.raises(ConfigError) as caught:
        Baking("cold", **values)
    assert str(caught.value).splitlines() == [
        "baking:",
        "  kind 'oats': must be one of rye, wheat",
        "  hours 10: must be at least 1 and below 10",
        "  salt inf: must be a finite number",
        "  the oven is cold",
    ]
    for wrong, message in (
        ({"hours": 0}, "hours 0"),
        ({"salt": 0}, "salt 0: must be above 0"),
        ({"salt": "much"}, "salt 'much': must be a number"),
    ):
        with pytest.raises(ConfigError, match=message):
            Baking("hot", **wrong)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from _commands(each, f"{path} {name}")
        else:
            yield f"{path} {name}", each


COMMANDS = dict(_commands(typer.main.get_command(app), "python -m builder"))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_explains_itself(path: str) -> None:
    each = COMMANDS[path]
    assert f"Example: {path}" in each.help
    for parameter in each.params:
        assert parameter.help, f"{path} {parameter.name}"
