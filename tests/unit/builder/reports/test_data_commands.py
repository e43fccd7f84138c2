from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from builder.data.config import Columns, DataConfig
from builder.data.samples import fetch_movielens_100k
from builder.errors import ConfigError, DataError
from builder.reports.data_commands import app
from tests.unit.builder.data.flags import data_config

ROOT = Path(__file__).parents[4]


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_describe_as_json(movielens: Path, minilm: Path) -> None:
    output = run(
        "describe", movielens, "--min-rating", "4", "--min-events", "8", "--backbone", minilm,
        "--json",
    )  # fmt: skip
    found = json.loads(output)
    assert (found["users"], found["items"], found["events"]) == (920, 1682, 99437)
    assert (found["targets"], found["actions"]) == (55245, ["disliked", "liked"])
    assert found["density"] == pytest.approx(99437 / (920 * 1682))
    assert found["history_length"]["0"] == 20
    assert 5 < found["tokens"]["length"]["50"] < 15
    assert found["first_event"] == 874724710


def test_describe_without_context(movielens: Path) -> None:
    found = json.loads(
        run("describe", movielens, "--min-rating", "4", "--min-events", "8", "--json", "--context",
            "drop")
    )  # fmt: skip
    assert (found["events"], found["targets"], found["actions"]) == (55245, 55245, [])
    assert found["density"] == pytest.approx(55245 / (920 * 1682))
    assert found["history_length"]["0"] == 8


def test_describe_for_people(movielens: Path) -> None:
    output = run("describe", movielens)
    for figure in ("943", "1,682", "100,000", "6.305%", "1997-09-20 03:05:10", "Toy Story (1995)"):
        assert figure in output
    assert "--backbone" in output


def test_describe_with_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what\nu,1\nu,2\n")
    (tmp_path / "stock.csv").write_text("sku,name\n1,[b]one[/b]\n2,two\n")
    output = run(
        "describe", tmp_path, "--format", "table", "--interactions", "log.csv", "--items",
        "stock.csv", "--column", "user=who", "--column", "item=what", "--column", "item_key=sku",
        "--text", "The {name}",
    )  # fmt: skip
    assert "The [b]one[/b]" in output
    assert "no times" in output


def test_errors_reach_the_caller(tmp_path: Path, movielens: Path) -> None:
    with pytest.raises(DataError, match="no file for the interactions"):
        run("describe", tmp_path)
    with pytest.raises(ConfigError, match="tokenizer cannot be loaded"):
        run("describe", movielens, "--backbone", tmp_path)
    with pytest.raises(ConfigError, match="must be one of ml-100k, minilm"):
        run("fetch", "ml-1b", tmp_path)


def test_options_become_a_configuration(tmp_path: Path) -> None:
    config = data_config(tmp_path, columns=["user=a=b", "time=t"], min_rating=2, min_events=3)
    assert config == DataConfig(
        tmp_path, columns=Columns(user="a=b", time="t"), min_rating=2, min_events=3
    )
    with pytest.raises(ConfigError) as caught:
        data_config(tmp_path, columns=["usr=a", "time", "item=", "user=a", "user=b"])
    for entry in ("'usr=a'", "'time'", "'item='", "'user=b'"):
        assert entry in str(caught.value)


def test_fetch_appears_whole_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "new" / "ml"
    assert run("fetch", "ml-100k", directory) == ""
    assert sorted(path.name for path in directory.iterdir()) == [
        "ml-100k.inter",
        "ml-100k.item",
        "ml-100k.user",
    ]
    assert [path.name for path in directory.parent.iterdir()] == ["ml"]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert fetch_movielens_100k(directory) == directory  # needs no index any more


def test_fetch_without_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(DataError, match=r"recbole==1\.2\.1: pip could not download it: ERROR"):
        fetch_movielens_100k(tmp_path / "ml")
    assert list(tmp_path.iterdir()) == []


def test_fetch_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something other than"):
        fetch_movielens_100k(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_the_files_say_is_no_markup(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id,timestamp,action\nu,[/i],1,[/bùy]\nv,j,2,[bold]view[/bold]\n"
    )
    (tmp_path / "items.csv").write_text("item_id,title\n[/i],[red]Naïve[/red] film\nj,other\n")
    told = run("describe", tmp_path)
    for text in ("[/bùy]", "[bold]view[/bold]", "[red]Naïve[/red] film"):
        assert text in told
    done = subprocess.run(
        [sys.executable, "-m", "builder", "data", "describe", str(tmp_path)],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0
    assert b"[/b\\xf9y]" in done.stdout
