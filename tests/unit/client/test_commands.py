"""The command line: what it says of itself, and where it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from typer.main import get_command

import client as package
from client.__main__ import main
from client._commands import app
from client.testing import FakeServer
from tests.unit.client.conftest import Triton, respond

ROOT = Path(__file__).parents[3]
COMMANDS: dict[str, Any] = cast("Any", get_command(app)).commands
SHARED = {"target", "timeout", "ca", "certificate", "key", "token_file"}
SCRIPT = "import sys; from client.__main__ import main; sys.argv[0] = 'tritonrec-client'; "


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_takes_and_gives_an_example(name: str) -> None:
    assert f"Example: python -m client {name}" in COMMANDS[name].help
    assert [each.name for each in COMMANDS[name].params if not each.help] == []
    panels = {each.name: getattr(each, "rich_help_panel", None) for each in COMMANDS[name].params}
    assert {name for name, panel in panels.items() if panel == "Connection"} == SHARED


def test_what_users_write_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(["[bold]a[/bold]", "b"]) as server:
        at = ["--target", server.address]
        assert main(["recommend", *at]) == 0
        assert "[bold]a[/bold]" in capsys.readouterr().out
        assert main(["classify", "[red]", "[/red]", *at]) == 0
        out = capsys.readouterr().out
        assert "[red]\n" in out
        assert "[/red]\n" in out
    assert main(["status", "--token-file", "[/red]"]) == 1
    assert "'[/red]'" in capsys.readouterr().err
    assert main(["rank", "--new", "[/red]"]) == 2
    assert "'[/red]' is not ID=TEXT" in capsys.readouterr().err


def test_a_list_that_is_the_same_for_all_says_so(
    triton: Triton, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["recommend", "--top-k", "1", "--target", triton.address]
    assert main(at) == 0
    assert "popular" not in capsys.readouterr().out
    mark = np.ones((1, 1), np.int32)
    scores = np.full((1, 1), np.nan, np.float32)
    triton.answer = lambda _: respond(
        ITEM=np.array([["a"]], object), INTEREST=scores, LOGIT=scores,
        SKIPPED=mark, TRUNCATED=mark, FALLBACK=mark,
    )  # fmt: skip
    assert main(at) == 0
    assert "(popular items, the same for all users" in capsys.readouterr().out
    assert main([*at, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fallback"] is True
    assert found["items"][0] == {"id": "a", "interest": None, "logit": None}


def test_propensities_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(["a", "b"]) as server:
        at = ["recommend", "--explore", "ucb", "--explore-rate", "0.5", "--target", server.address]
        assert main(at) == 0
        assert capsys.readouterr().out.endswith("\npropensities (deterministic): 1.0000 1.0000\n")
        options = server.requests[-1].options
        assert (options["explore"], options["explore_rate"]) == ("ucb", 0.5)
        assert main([*at, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["propensities"] == [1, 1]
        assert found["propensity_kind"] == "deterministic"
        assert main(["recommend", "--target", server.address]) == 0
        assert "propensities" not in capsys.readouterr().out


def test_a_terminal_that_lacks_a_character_shows_it_escaped() -> None:
    with FakeServer(["a"]) as server:
        words = ["-m", package.__name__, "classify", "naïve", "--target", server.address]
        done = python(*words, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("na\\xefve\n")


def test_without_typer_it_says_what_to_install() -> None:
    done = python("-c", f"import sys; sys.modules['typer'] = None; {SCRIPT} sys.exit(main())")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "the command line needs typer: pip install 'tritonrec[cli]'\n"


def test_the_client_itself_needs_no_typer() -> None:
    done = python("-c", f"import sys, {package.__name__}; sys.exit('typer' in sys.modules)")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_completes_the_script_and_not_the_module() -> None:
    words = {"COMP_WORDS": "tritonrec-client rec", "COMP_CWORD": "1"}
    done = python("-c", f"{SCRIPT} main()", _TRITONREC_CLIENT_COMPLETE="complete_bash", **words)
    assert done.stdout.split() == ["recommend"]
    assert "--install-completion" in python("-c", f"{SCRIPT} main(['--help'])").stdout
    assert "--show-completion" not in python("-m", package.__name__, "--help").stdout


def test_labels_of_one_name_are_all_shown(
    triton: Triton, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.parameters = {"labels": '["x", "x"]', "activation": "softmax"}
    at = ["--target", triton.address]
    assert main(["classify", "a", "--json", *at]) == 0
    (found,) = json.loads(capsys.readouterr().out)["texts"]
    assert list(found["probabilities"]) == ["x #0", "x #1"]
    assert found["labels"] == ["x #1"]
    assert main(["classify", "a", *at]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-2:] for line in lines[1:]] == [["x", "#1"], ["x", "#0"]]
    assert [line[0] for line in lines[1:]] == ["*", " "]


def test_events_are_told_from_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(["a", "b"]) as server:
        at = ["--target", server.address]
        asked = ["observe", "--item", "a", "--item", "x", "--action", "buy", "--time", "7", *at]
        assert main(asked) == 0
        assert capsys.readouterr().out == "1 counted, 1 of unknown items, 0 repeated\n"
        assert server.requests[-1].inputs["ACTION"] == ["buy", "buy"]
        assert server.requests[-1].inputs["TIME"] == [7, 7]
        for expected in ({"accepted": 1, "repeated": 0}, {"accepted": 0, "repeated": 1}):
            assert main(["observe", "--item", "b", "--event-id", "1", "--json", *at]) == 0
            assert json.loads(capsys.readouterr().out) == {"unknown": 0, **expected}
        assert main(["observe", "--item", "a", "--item", "b", "--event-id", "1", *at]) == 2
        assert "give one --item" in capsys.readouterr().err
