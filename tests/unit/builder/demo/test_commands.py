from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from builder.command_line import app
from builder.demo.commands import what_next
from builder.evaluation.report import Row
from builder.model.checkpoint import FORMATS

ROWS = [
    Row("EASE", 3, {"ndcg@10": 0.1}, 0.0),
    Row("frozen BERT: full model", 3, {"ndcg@10": 0.1234}, 0.0),
]


@pytest.mark.parametrize("tune_epochs", [0, None])
def test_what_comes_next(
    tune_epochs: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = {"format": max(FORMATS), "training": {"tune_epochs": tune_epochs}}
    (run / "config.json").write_text(json.dumps(config))
    what_next(run, Path("repository"), Path(".data"), ROWS)
    said = capsys.readouterr().out
    # Of a run that was trained in full, nothing is said that is not so.
    assert ("short training reaches NDCG@10 0.123" in said) is (tune_epochs == 0)
    assert (f"--output {run}-full" in said) is (tune_epochs == 0)
    assert "Try it in a browser, at http://127.0.0.1:8080:\n" in said
    begin = "  python -m builder "
    lines = [line.removeprefix(begin) for line in said.splitlines() if line.startswith(begin)]
    assert len(lines) == (4 if tune_epochs == 0 else 3)
    known = vars(get_command(app))["commands"]
    for name, *options in map(shlex.split, lines):
        if name != "play":
            flags = {flag for each in known[name].params for flag in each.opts}
            assert {each for each in options if each.startswith("--")} <= flags
