"""``data validate``, ``data convert`` and the page of ``data describe``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from builder.data import DataConfig, read
from builder.errors import ConfigError, DataError
from builder.reports import data_commands
from builder.reports.data_commands import app
from tests.unit.builder.data.public_layouts import LAYOUTS

Write = Callable[..., Path]

ITEMS = "item_id,title,year\n1,Löwe,1995\n2,Zebra,\n"
LOG = (
    "user_id,item_id,rating,timestamp,action\n"
    "u,2,4.5,2023-11-14T22:13:20.250Z,buy\nu,1,,2023-11-14T22:13:20.125Z,\nv,1,3,2023-11-15,look\n"
    "v,2,4,2023-11-16,\n"
)


def run(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_what_is_converted_is_the_same_data(write: Write, tmp_path: Path) -> None:
    directory = write(interactions__csv=LOG, items__csv=ITEMS)
    told = run("convert", directory, "--output", tmp_path / "new")
    assert "interactions.parquet: 4 events" in told
    words = shlex.split(told.splitlines()[-1])
    assert words[3:8] == ["train", "--data", str(tmp_path / "new"), "--text", "{text}"]
    before, after = read(DataConfig(directory)), read(DataConfig(tmp_path / "new", text="{text}"))
    assert after[1].item_ids == before[1].item_ids
    assert after[1].texts == before[1].texts
    assert after[1].columns["year"].tolist() == ["1995", ""]
    for name in ("user", "item", "time", "action"):
        assert np.array_equal(getattr(after[0], name), getattr(before[0], name)), name
    assert after[0].user_ids == before[0].user_ids
    assert after[0].actions == before[0].actions
    assert after[0].item.tolist() == [0, 1, 0, 1]  # fractions of a second are kept
    table = pyarrow.parquet.read_table(tmp_path / "new" / "interactions.parquet")
    assert table["rating"].to_pylist() == [4.5, None, 3.0, 4.0]


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("MIND", "Gowalla") else pytest.param(name, marks=pytest.mark.sweep)
        for name in (each.name for each in LAYOUTS)
    ],
)
def test_every_layout_can_be_converted(name: str, tmp_path: Path) -> None:
    given = next(each for each in LAYOUTS if each.name == name)
    for file, content in given.files.items():
        path = tmp_path / "old" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    run("convert", tmp_path / "old", "--output", tmp_path / "new", *given.hint)
    found = json.loads(run("describe", tmp_path / "new", "--text", "{text}", "--json"))
    before = json.loads(run("describe", tmp_path / "old", *given.hint, "--json"))
    for figure in ("users", "items", "events", "first_event", "last_event", "ratings", "texts"):
        assert found[figure] == before[figure], figure


def test_nothing_is_written_over(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is said before the log is read.
    monkeypatch.setattr(data_commands, "survey", lambda *_, **__: pytest.fail("it was read"))
    directory = write(interactions__csv=LOG, items__csv=ITEMS)
    result = CliRunner().invoke(app, ["convert", str(directory), "--output", str(directory)])
    assert isinstance(result.exception, DataError)
    assert "is not empty; name a new directory" in str(result.exception)
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(
        app, ["convert", str(directory), "--output", str(tmp_path / "file")]
    )
    assert isinstance(result.exception, DataError)
    assert "cannot be written" in str(result.exception)
    result = CliRunner().invoke(
        app, ["convert", str(directory), "--output", str(tmp_path / "file" / "new" / "data")]
    )
    assert isinstance(result.exception, DataError)
    assert "cannot be written: Not a directory; make room, or name" in str(result.exception)


def test_a_page_that_cannot_be_written_is_told_before_the_log_is_read(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_commands, "survey", lambda *_, **__: pytest.fail("it was read"))
    directory, page = write(interactions__csv=LOG, items__csv=ITEMS), tmp_path / "none/page.html"
    result = CliRunner().invoke(app, ["describe", str(directory), "--html", str(page)])
    assert isinstance(result.exception, ConfigError)
    assert "page.html: cannot be written" in str(result.exception)


def test_validate(write: Write) -> None:
    directory = write(interactions__csv=LOG, items__csv=ITEMS)
    assert json.loads(run("validate", directory, "--json")) == {
        "ok": True, "problems": [], "trainable": True, "users": 2, "items": 2, "events": 4,
    }  # fmt: skip
    assert "2 users, 2 items, 4 events" in run("validate", directory)
    (directory / "interactions.csv").write_text("user_id,item_id\n,1\nu,7\nu,8\n")
    found = json.loads(run("validate", directory, "--json", code=1))
    assert found["ok"] is False
    assert [(each["kind"], each["count"]) for each in found["problems"]] == [
        ("missing values of user_id in interactions.csv", 1),
        ("events with items that are not known", 2),
    ]
    assert "item '7' is not in items.csv" in found["problems"][1]["examples"][0]
    assert run("validate", directory, code=1) == ""
    assert json.loads(run("validate", directory / "none", "--json", code=1))["ok"] is False


def test_a_log_that_cannot_be_trained_on_is_told(write: Write, tmp_path: Path) -> None:
    once = "user_id,item_id\n" + "".join(f"u{user},{1 + user % 2}\n" for user in range(9))
    directory = write(interactions__csv=once, items__csv=ITEMS)
    page = tmp_path / "page.html"
    described = run("describe", directory, "--html", page)
    converted = run("convert", directory, "--output", tmp_path / "new")
    validated = run("validate", directory)
    for told in (described, converted, validated, page.read_text("utf-8")):
        assert "no user has 3 events to recommend" in told
        assert "builder train" not in told
    found = json.loads(run("describe", directory, "--json"))
    assert (found["trainable"], found["train"]) == (False, None)
    assert json.loads(run("validate", directory, "--json"))["trainable"] is False


def test_few_users_in_the_test_are_told(write: Write) -> None:
    few = "who are in the test: 2. With fewer than 30 the figures of a training say little."
    for users, told in ((2, True), (30, False)):
        log = "".join(f"u{user},{1 + row % 2}\n" for user in range(users) for row in range(3))
        directory = write(interactions__csv=f"user_id,item_id\n{log}", items__csv=ITEMS)
        assert (few in run("describe", directory)) == told


def test_a_page(write: Write, tmp_path: Path, minilm: Path) -> None:
    directory = write(interactions__csv=LOG, items__csv=ITEMS)
    page = tmp_path / "page.html"
    run("describe", directory, "--html", page, "--backbone", minilm)
    text = page.read_text("utf-8")
    assert text.count("<svg") == 5  # over time, ratings, per user, per item, tokens
    assert "python -m builder train" in text
    assert "Löwe" in text


def test_tokens_that_the_backbone_does_not_know(write: Write, minilm: Path) -> None:
    items = "item_id,title\n1,a film\n2,\u1680\u2e80 film\n"
    directory = write(interactions__csv="user_id,item_id\nu,1\n", items__csv=items)
    shown = run("describe", directory, "--backbone", minilm)
    assert "Tokens that the backbone does not know: " in shown
    found = json.loads(run("describe", directory, "--backbone", minilm, "--json"))["tokens"]
    assert found["texts_with_unknown"] == 1
    assert found["unknown"] == 1 / 8  # [CLS] a film [SEP], [CLS] [UNK] film [SEP]


def test_labels_are_a_minimum_of_one(write: Write) -> None:
    log = "user_id,item_id,label\n" + "u,1,0\n" * 30 + "u,2,1\n"
    directory = write(interactions__csv=log, items__csv=ITEMS)
    assert "--min-rating 1" in run("describe", directory).splitlines()[-1]
