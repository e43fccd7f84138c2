"""Files that change while a model is served: what they become, and what a broken one does."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_repository.core.attributes import (
    Attributes,
    BooleanColumn,
    NumberColumn,
    list_column,
    text_column,
)
from model_repository.core.identifiers import Identifiers
from model_repository.core.policy.facts import Facts, FixedFacts
from model_repository.steps import rules_directory
from model_repository.steps.rules_directory import (
    RULES,
    BrokenRules,
    RulesDirectory,
    read_rules,
    watch_rules,
)
from tests.shared import reached
from tests.unit.model_repository.catalogues import catalogue

IDS = Identifiers.of(["i0", "i1", "ï2"])
EXPORTED = Facts(
    IDS,
    Attributes(
        {
            "price": NumberColumn(np.array([1.0, 2.0, np.nan])),
            "brand": text_column(["a", None, "b"]),
            "tags": list_column([["x"], [], ["y", "x"]]),
            "adult": BooleanColumn(np.array([0, 1, -1], np.int8)),
        }
    ),
)


def values(facts: Facts, name: str) -> list[Any]:
    return facts.attributes.values(name, np.arange(len(facts.ids), dtype=np.int32))


def csv(directory: Path, *lines: str) -> None:
    (directory / "attributes.csv").write_text("\n".join(lines), "utf-8")


def named(directory: Path, name: str, *lines: str) -> None:
    (directory / "lists").mkdir(exist_ok=True)
    (directory / "lists" / name).write_text("\n".join(lines), "utf-8")


def test_an_empty_directory_changes_nothing(tmp_path: Path) -> None:
    found = read_rules(tmp_path, EXPORTED, 7)
    assert found.facts.attributes is EXPORTED.attributes
    assert found.facts.lists == {}
    assert found.facts.generation == 7


def test_values_replace_those_of_the_version_and_new_columns_come_along(tmp_path: Path) -> None:
    csv(
        tmp_path,
        "\ufeffitem_id,price,brand,tags,stock,soon:boolean,note:list,until",
        'ï2,9.5,,"z|x",3,1,a b,2026-01-31',
        "",
        "i0,,c,,0,,,",
        "unknown,x,x,x,x,x,x,x",
    )
    found = read_rules(tmp_path, EXPORTED, 1)
    assert (found.rows, found.unknown) == (3, 1)
    assert values(found.facts, "price") == [1, 2, 9.5]
    assert values(found.facts, "brand") == ["c", None, "b"]
    assert values(found.facts, "tags") == [["x"], [], ["x", "z"]]
    assert values(found.facts, "adult") == [False, True, None]
    assert values(found.facts, "stock") == [0, None, 3]
    assert values(found.facts, "soon") == [None, None, True]
    assert values(found.facts, "note") == [[], [], ["a b"]]
    assert values(found.facts, "until") == [None, None, "2026-01-31"]
    assert values(EXPORTED, "price") == [1, 2, None]


@pytest.mark.parametrize(
    ("separators", "expected"),
    [("|;", ["Science Fiction"]), ("|;,", ["Science Fiction"]), ("|;, ", ["Fiction", "Science"])],
)
def test_another_row_does_not_change_what_a_row_says(
    tmp_path: Path, separators: str, expected: list[str]
) -> None:
    tags = list_column([["x"], [], []], separators)
    exported = Facts(IDS, Attributes({"tags": tags}))
    rows = ["item_id,tags,new:list", "i0,Science Fiction,Science Fiction"]
    for other in ("", 'i1,"Sci-Fi, Drama","Sci-Fi, Drama"', "i1,Sci-Fi;Drama,Sci-Fi|Drama"):
        csv(tmp_path, *rows, other)
        found = read_rules(tmp_path, exported, 1).facts
        assert values(found, "tags")[0] == expected
        assert values(found, "new")[0] == ["Science Fiction"]
    assert values(found, "tags")[1] == values(found, "new")[1] == ["Drama", "Sci-Fi"]


def test_a_list_has_a_value_a_line(tmp_path: Path) -> None:
    named(tmp_path, "recalled.txt", " ï2 ", "", "b", "unknown", "b")
    named(tmp_path, "a-b.c.txt")
    lists = read_rules(tmp_path, EXPORTED, 1).facts.lists
    assert {name: list(each.texts) for name, each in lists.items()} == {
        "recalled": ["ï2", "b", "unknown"],
        "a-b.c": [],
    }
    assert lists["recalled"].items(IDS).tolist() == [2]
    column = EXPORTED.attributes.column("brand")
    assert column.kind == "text"
    assert lists["recalled"].codes(column).tolist() == [1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["item,price", "i0,1"], r":1: name each column once, and one item_id; .* item, price"),
        (["item_id,a,a", "i0,1,1"], ":1: name each column once"),
        ([], ":1: name each column once"),
        (["item_id,price", "i0,1,2"], ":2: has 3 values, and the first line names 2"),
        (["item_id,price", 'i0,"1'], ":2: .*; write it as CSV"),
        (["item_id,price", "i0,1", "i1,2", "i1,2"], "item 'i1' is there twice"),
        (["item_id,price", "i0,1", "i1,ten"], "price of item 'i1' is wrong: 'ten' is no number"),
        (["item_id,price:text", "i0,1"], "named a text, and was exported as a number"),
        (["item_id,tags", r'i0,"[""\ud83d""]"'], "tags of item 'i0' is wrong: .* half of a char"),
        (["item_id,new", r'i0,"[""\ud83d""]"'], "new of item 'i0' is wrong: .* half of a char"),
    ],
)
def test_a_broken_table_is_told(tmp_path: Path, lines: list[str], message: str) -> None:
    csv(tmp_path, *lines)
    with pytest.raises(BrokenRules, match=f"attributes.csv.*{message}"):
        read_rules(tmp_path, EXPORTED, 1)


def test_other_broken_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(BrokenRules, match=r"there is no directory .*make it"):
        read_rules(tmp_path / "none", EXPORTED, 1)
    named(tmp_path, "a b.txt")
    with pytest.raises(BrokenRules, match=r"a b\.txt: name it by letters"):
        read_rules(tmp_path, EXPORTED, 1)
    (tmp_path / "lists/a b.txt").unlink()
    (tmp_path / "lists/a.txt").write_bytes(b"a\n\xff")
    with pytest.raises(BrokenRules, match=r"a\.txt is no UTF-8 text \(byte 2\)"):
        read_rules(tmp_path, EXPORTED, 1)


class Watched:
    """A directory, and what is told of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: list[str] = []
        self.notes: list[int] = []
        self.rules = RulesDirectory(directory, EXPORTED, self.said.append, self.notes.append)

    def seen(self, name: str = "price") -> list[Any]:
        self.rules.look()
        return values(self.rules.current(), name)


def test_a_change_is_seen_and_counted(tmp_path: Path) -> None:
    csv(tmp_path, "item_id,price", "i0,5")
    watched = Watched(tmp_path)
    first = watched.rules.current()
    assert values(first, "price") == [5, 2, None]
    watched.rules.look()
    assert watched.rules.current() is first
    csv(tmp_path, "item_id,price", "i0,6")
    assert watched.seen() == [6, 2, None]
    assert values(first, "price") == [5, 2, None]
    named(tmp_path, "l.txt", "i0")
    watched.rules.look()
    assert list(watched.rules.current().lists) == ["l"]
    (tmp_path / "attributes.csv").unlink()
    assert watched.seen() == [1, 2, None]
    assert watched.rules.current().generation == first.generation + 3
    assert watched.said == []
    assert watched.notes == []


def test_a_broken_file_keeps_the_last_good_state_and_is_told_once(tmp_path: Path) -> None:
    csv(tmp_path, "item_id,price", "i0,5")
    watched = Watched(tmp_path)
    good = watched.rules.current()
    csv(tmp_path, "item_id,price", "i0,five")
    named(tmp_path, "l.txt", "i0")
    for _ in range(3):
        watched.rules.look()
        assert watched.rules.current() is good
    (said,) = watched.said
    assert "price of item 'i0' is wrong: 'five' is no number; the rules stay as they were" in said
    assert watched.notes == [1]
    csv(tmp_path, "item_id,price", "i0,six")
    watched.rules.look()
    assert len(watched.said) == 2
    csv(tmp_path, "item_id,price", "i0,7")
    assert watched.seen() == [7, 2, None]
    assert watched.notes == [1, -1]


def test_nothing_that_is_raised_ends_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv(tmp_path, "item_id,price", "i0,5")
    monkeypatch.setattr(rules_directory, "_LOOK_EVERY", 0.01)
    told = threading.Event()
    said: list[str] = []
    notes: list[int] = []

    def complain(what: str) -> None:
        said.append(what)
        told.set()

    rules = RulesDirectory(tmp_path, EXPORTED, complain, notes.append)
    good = rules.current()
    rules.watch()

    def fail(*_: Any) -> Any:
        raise KeyError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(rules_directory, "read_rules", fail)
        csv(tmp_path, "item_id,price", "i0,66")
        assert told.wait(30)
        assert rules.current() is good
    (broken,) = said
    assert f"{tmp_path}: Traceback" in broken
    assert "KeyError: 'a fault of ours'; the rules stay as they were" in broken
    csv(tmp_path, "item_id,price", "i0,777")
    assert reached(lambda: values(rules.current(), "price")[0], expected=777)
    rules.close()
    assert notes == [1, -1]


def test_a_directory_that_goes_and_comes_again(tmp_path: Path) -> None:
    directory = tmp_path / "rules"
    watched = Watched(directory)
    watched.rules.look()
    assert watched.notes == [1]
    assert len(watched.said) == 1
    assert watched.rules.current() is EXPORTED
    directory.mkdir()
    csv(directory, "item_id,price", "i0,5")
    assert watched.seen() == [5, 2, None]
    directory.rename(tmp_path / "away")
    assert watched.seen() == [5, 2, None]
    (tmp_path / "away").rename(directory)
    watched.rules.look()
    assert watched.notes == [1, -1, 1, -1]


def test_files_that_change_while_they_are_read_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv(tmp_path, "item_id,price", "i0,5")
    watched = Watched(tmp_path)
    read = rules_directory.read_rules

    def slow(*arguments: Any) -> Any:
        found = read(*arguments)
        csv(tmp_path, "item_id,price", "i0,77")
        return found

    csv(tmp_path, "item_id,price", "i0,6")
    with monkeypatch.context() as patched:
        patched.setattr(rules_directory, "read_rules", slow)
        assert watched.seen() == [5, 2, None]
    assert watched.seen() == [77, 2, None]


def test_the_environment_names_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(catalogue(3), attributes=Attributes())
    fixed = watch_rules(known, print, environment={})
    assert isinstance(fixed, FixedFacts)
    assert fixed.current().ids is known.ids
    monkeypatch.setattr(rules_directory, "_LOOK_EVERY", 0.01)
    looked = threading.Event()
    monkeypatch.setattr(RulesDirectory, "look", lambda _: looked.set())
    found = watch_rules(known, print, environment={RULES: str(tmp_path)})
    assert isinstance(found, RulesDirectory)
    looked.clear()
    assert looked.wait(30)
    found.close()
