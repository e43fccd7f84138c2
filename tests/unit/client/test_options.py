"""The options of a request: what the contract declares is what callers, the shell and docs have."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.main import get_command

from client import InvalidInput, RecommenderClient, _inputs
from client.__main__ import main
from client._commands import app
from client.testing import FakeServer
from model_repository.core.contract import (
    EXPLORE,
    ON_UNKNOWN,
    OPTIONS,
    Explore,
    OnUnknown,
    OptionSpec,
)

DOCS = Path(__file__).parents[3] / "docs" / "client.md"
CALLS = {
    "rank": lambda client, **options: client.rank(["a"], ["b"], **options),
    "recommend": lambda client, **options: client.recommend(["a"], **options),
}


def keywords(method: str) -> dict[str, object]:
    parameters = inspect.signature(getattr(RecommenderClient, method)).parameters
    return {name: each.default for name, each in parameters.items()}


def taken(method: str) -> list[OptionSpec]:
    return [option for option in OPTIONS if option.name in keywords(method)]


def other(option: OptionSpec) -> bool | int | float | str:
    """Return a value that is not the default."""
    match option.default:
        case bool():
            return not option.default
        case int():
            return max(option.default, option.minimum or 0) + 1
        case float():
            return (option.minimum or 0) + 0.5
        case str():
            return option.choices[-1] if option.choices else "other"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["a", "b", "c"]) as running:
        yield running


def test_each_option_is_a_keyword() -> None:
    assert {option for method in CALLS for option in taken(method)} == set(OPTIONS)


@pytest.mark.parametrize("method", CALLS)
def test_a_keyword_has_the_default_that_is_declared(method: str) -> None:
    for option in taken(method):
        for name in (method, f"{method}_many"):
            default = keywords(name)[option.name]
            assert (default, type(default)) == (option.default, type(option.default))


@pytest.mark.parametrize("method", CALLS)
def test_what_is_asked_for_arrives(
    method: str, server: FakeServer, connect: type[RecommenderClient]
) -> None:
    changed = {option.name: other(option) for option in taken(method)}
    with connect(server.address, timeout=60) as client:
        CALLS[method](client)
        CALLS[method](client, **changed)
        user = (["a"], ["b"]) if method == "rank" else ["a"]
        list(getattr(client, f"{method}_many")([user], **changed))
    arrived = [
        {name: value for name, value in request.options.items() if name != "timeout"}
        for request in server.requests
    ]
    assert arrived == [{}, changed, changed]  # a server of before an option was declared knows none


@pytest.mark.parametrize("method", CALLS)
def test_the_terminal_has_a_flag_for_each(method: str, server: FakeServer) -> None:
    arguments = ["--candidates", "b"] if method == "rank" else []
    for option in taken(method):
        flag = f"--{option.name.replace('_', '-')}"
        value = other(option)
        arguments += [flag] if value is True else [flag, str(value)]
    assert main([method, *arguments, "--target", server.address]) == 0
    sent = server.requests[0].options
    assert {option.name: sent[option.name] for option in taken(method)} == {
        option.name: other(option) for option in taken(method)
    }
    plain = ["--candidates", "b"] if method == "rank" else []
    assert main([method, *plain, "--target", server.address]) == 0
    # A server of before an option was declared knows none.
    assert server.requests[1].options.keys() <= {"timeout"}
    commands: Any = get_command(app)
    flags = {each.name: each for each in commands.commands[method].params}
    for option in taken(method):
        flag = flags[option.name]
        assert flag.help.lower() == f"{option.meaning}.".lower()
        assert (flag.default, flag.rich_help_panel) == (option.default, "Request")


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.choices])
def test_a_value_that_is_no_choice_is_refused(
    option: OptionSpec, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no line is broken
    method = next(name for name in CALLS if option in taken(name))
    assert main([method, f"--{option.name.replace('_', '-')}", "other"]) == 2
    choices = ", ".join(repr(choice) for choice in option.choices)
    assert f"'other' is not one of {choices}" in capsys.readouterr().err


def test_the_terminal_still_knows_the_earlier_flag(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", "--candidates", "b", "--skip-unknown", "--target", server.address]) == 0
    assert server.requests[0].options["on_unknown"] == "skip"
    assert capsys.readouterr().err == ""


def test_the_table_of_the_docs_says_what_is_declared() -> None:
    heading, rest = "| option | of | default | meaning |", DOCS.read_text("utf-8")
    table = rest.partition(heading)[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(.*)` \| (.*) \|$", table, re.MULTILINE)
    assert sorted(rows) == sorted(
        (option.name, method, repr(option.default), option.meaning)
        for method in CALLS
        for option in taken(method)
    )


def test_the_type_of_a_keyword_names_the_choices() -> None:
    assert get_args(OnUnknown) == ON_UNKNOWN.choices
    assert get_args(Explore) == EXPLORE.choices


@pytest.mark.parametrize("method", CALLS)
def test_a_keyword_that_is_not_declared_is_refused_as_python_does(
    server: FakeServer, method: str
) -> None:
    with (
        RecommenderClient(server.address) as client,
        pytest.raises(TypeError, match="unexpected keyword argument 'topk'"),
    ):
        CALLS[method](client, topk=3)
    assert not server.requests


@pytest.mark.parametrize(
    ("option", "wrong", "says"),
    [
        (OptionSpec("x", 5, "how deep"), "5", "x is '5': pass an int"),
        (OptionSpec("x", 5, "how deep", minimum=0), -1, "pass an int of at least 0, how deep"),
        (OptionSpec("x", 5, "how deep", minimum=1), 0, "pass a positive int, how deep"),
        (OptionSpec("x", 0, "how deep", minimum=2), 1, "pass an int of at least 2, how deep"),
        (OptionSpec("x", "any", "how"), 5, "pass a str, how"),
        (OptionSpec("x", "a", "how", choices=("a", "b")), "c", "pass 'a' or 'b', how"),
        (OptionSpec("x", default=True, meaning="if so"), 1, "pass True or False, if so"),
    ],
)
def test_the_check_follows_from_the_declaration(option: OptionSpec, wrong: Any, says: str) -> None:
    assert _inputs.read_options((option,), {}) == {}
    assert _inputs.read_options((option,), {"x": option.default}) == {"x": option.default}
    with pytest.raises(InvalidInput, match=re.escape(says)) as caught:
        _inputs.read_options((option,), {"x": wrong})
    assert (caught.value.field, caught.value.value) == ("x", wrong)
