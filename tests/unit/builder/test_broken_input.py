"""Every command, given what it cannot read: one message, exit code 2, and nothing left behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, cast

import pytest
from typer.main import get_command

from builder.command_line import app, main

COMMANDS: Final = {
    "train": "--data BAD --backbone MODEL --output new",
    "train-classifier": "--data BAD --backbone MODEL --output new",
    "tune": "--study new.sqlite --data BAD --backbone MODEL --trials 1",
    "evaluate": "BAD",
    "compare": "BAD BAD",
    "baselines": "--data BAD",
    "export": "--checkpoint BAD --repository new",
    "add-items": "--items BAD --repository BAD",
    "doctor": "--repository BAD",
    "serve": "--repository BAD",
    "status": "--metrics 127.0.0.1:BAD",
    "versions": "--repository BAD",
    "activate": "1 --repository BAD",
    "data": "describe BAD",
    "policy": "check BAD --repository BAD",
    "rules": "check BAD --repository BAD",
    "play": "--repository BAD",
    "demo": "--cache BAD/file --run BAD --repository new",
}
OTHERS: Final = (
    "train --data good --backbone BAD --output new",
    "train --config BAD --data good --backbone MODEL --output new",
    "train-classifier --data texts.csv --backbone BAD --output new",
    "export --classifier BAD --repository new",
)
STUDY: Final = "tune --study BAD --data good --backbone MODEL --trials 1"
KINDS: Final = ("missing", "empty-file", "binary", "text", "json", "empty", "unrelated", "nested")

MADE: Final = ("missing", "empty-file", "empty", "unrelated")
"""What is made or filled where it is a directory to keep things in, or a study."""


def make(kind: str) -> str:
    """A path of that kind below the current directory."""
    path = Path(f"bad-{kind}")
    contents = {
        "empty-file": b"",
        "binary": bytes(range(256)) * 8,
        "text": 'one\ntwo;"three\n\u2028[/bold]\n'.encode(),
        "json": b'{"format": 3, "active": [], "versions": {"x": null}}',
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "nested":
        Path("plain").touch()
        return "plain/within"
    elif kind != "missing":
        path.mkdir()
        if kind == "unrelated":
            for name in ("config.json", "manifest.json", "interactions.csv", "items.csv"):
                (path / name).write_bytes(contents["json"])
            (path / "model.safetensors").write_bytes(contents["binary"])
            (path / "model").mkdir()
    return str(path)


def test_every_command_is_tried() -> None:
    assert COMMANDS.keys() == cast("Any", get_command(app)).commands.keys()


LINES: Final = [f"{name} {rest}" for name, rest in COMMANDS.items()] + [*OTHERS, STUDY]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (line, kind)
        for line in LINES
        for kind in KINDS
        if not (kind in MADE and (line.startswith("demo") or line == STUDY))
    ],
)
def test_one_message_and_exit_code_2(
    line: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("good").mkdir()
    events = "".join(f"u{user},i{item},{item}\n" for user in range(9) for item in range(5))
    Path("good/interactions.csv").write_text(f"user_id,item_id,timestamp\n{events}")
    items = "".join(f"i{item},film {item}\n" for item in range(5))
    Path("good/items.csv").write_text(f"item_id,title\n{items}")
    Path("texts.csv").write_text("text,label\n" + "a film,yes\nno film,no\n" * 20)
    bad = make(kind)
    before = sorted(Path().rglob("*"))
    words = [word.replace("BAD", bad).replace("MODEL", "no-such-model") for word in line.split()]
    monkeypatch.setattr(sys, "argv", ["builder", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    everything = told.out + told.err
    assert ended.value.code in ((1, 2) if words[0] == "doctor" else (2,)), everything
    assert "Traceback" not in everything
    assert "fault of this software" not in everything
    if words[0] != "doctor":
        assert bad.split("/")[0] in everything.replace("\n", ""), everything
    assert sorted(Path().rglob("*")) == before
