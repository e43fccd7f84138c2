"""The tutorial does what it says, from the made log to the answers of a server."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from builder.command_line import app
from builder.serving import TritonServer

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^\$ tritonrec (.*)", TEXT, re.MULTILINE)
SHORTER = {
    "train": ["--epochs", "3", "--tune-epochs", "0", "--width", "32"],
    "baselines": ["--no-sasrec"],
}


def python(code: str, *, here: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=here, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.sweep
def test_the_tutorial(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_log, ask = PROGRAMS
    python(make_log, here=tmp_path)
    (tmp_path / "minilm").symlink_to(minilm)
    monkeypatch.chdir(tmp_path)
    *steps, last = [command for command in COMMANDS if not command.startswith("data fetch")]
    assert last == "serve"
    assert [step.split()[0] for step in steps] == [
        "data", "train", "evaluate", "baselines", "export",
    ]  # fmt: skip
    for step in steps:
        name, *arguments = shlex.split(step)
        done = CliRunner().invoke(app, [name, *arguments, *SHORTER.get(name, [])])
        assert done.exit_code == 0, f"{step}: {done.output} {done.exception!r}"
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with TritonServer(tmp_path / "repository") as server:
        # The names of an installation; this is a checkout.
        here = ask.replace("from tritonrec import", "from client import")
        here = here.replace("localhost:8001", server.grpc_address)
        answer = python(here.replace("timeout=1.0", "timeout=60"), here=tmp_path)
    *best, ranking = answer.splitlines()
    assert len(best) == 5
    assert all(re.fullmatch(r"p\d+ 0\.\d{3}", line) for line in best)
    assert sorted(ast.literal_eval(ranking)) == ["new", "p45", "p6"]
