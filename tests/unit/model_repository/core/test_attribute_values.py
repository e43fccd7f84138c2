"""What texts of files become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_repository.core.attribute_values import (
    WrongValue,
    guessed_kind,
    named_kind,
    read_column,
    seconds_of,
    separators_of,
)
from model_repository.core.attributes import KINDS, Kind


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2.5e3", ""], "number"),
        (["1", "0"], "number"),
        (["1", "nan"], "text"),
        (["1_000"], "text"),
        (["True", "no", " "], "boolean"),
        (["true", "1"], "text"),
        (["2026-01-31", "", "2026-01-31T10:00:00Z"], "date"),
        (["2026-02-30"], "text"),
        (["20260131"], "number"),
        (["Action|Sci-Fi", "Drama"], "list"),
        (["a;b", "c"], "list"),
        (['["a", "b"]', "[]"], "list"),
        (['["a", {}]'], "text"),
        (["[" * 100_000], "text"),
        (["a, b", "c"], "text"),
        (["", " "], "text"),
        ([], "text"),
    ],
)
def test_a_kind_is_guessed_from_all_values(texts: list[str], kind: Kind) -> None:
    assert guessed_kind(texts) == kind


@pytest.mark.parametrize(
    ("texts", "kind", "expected"),
    [
        ([" 1 ", "", "2.5"], "number", [1, None, 2.5]),
        (["1", "no", "TRUE", ""], "boolean", [True, False, True, None]),
        (["2026-01-31", ""], "date", ["2026-01-31", None]),
        ([" a b ", ""], "text", ["a b", None]),
        (["a|b;c", "d, e", ""], "list", [["a", "b;c"], ["d, e"], []]),
        (["a;b,c", "d e"], "list", [["a", "b,c"], ["d e"]]),
        (["a, b b", "d"], "list", [["a", "b b"], ["d"]]),
        (["a b", "d"], "list", [["a", "b"], ["d"]]),
        (['["a, b", 3]', "[x"], "list", [["3", "a, b"], ["[x"]]),
        (['["a|b"]', "c, d e"], "list", [["a|b"], ["c", "d e"]]),
    ],
)
def test_values_are_read(texts: list[str], kind: Kind, expected: list[Any]) -> None:
    column = read_column(texts, kind, separators_of(texts))
    assert column.kind == kind
    assert column.values(np.arange(len(texts), dtype=np.int32)) == expected


@pytest.mark.parametrize(
    ("texts", "separators"),
    [
        (["a|b;c", "d"], "|"),
        (["a;b,c"], "|;"),
        (["a, b b", "d"], "|;,"),
        (["a b", " c "], "|;, "),
        ([" c ", "", '["a, b|c"]'], "|;"),
    ],
)
def test_separators_are_told_from_all_values(texts: list[str], separators: str) -> None:
    assert separators_of(texts) == separators


@pytest.mark.parametrize(
    ("separators", "expected"),
    [
        ("|", ["a;b, c d"]),
        ("|;", ["a", "b, c d"]),
        ("|;,", ["a", "b", "c d"]),
        ("|;, ", ["a", "b", "c", "d"]),
    ],
)
def test_values_are_separated_as_those_of_their_column(
    separators: str, expected: list[str]
) -> None:
    column = read_column(["a;b, c d", '["x|y; z"]'], "list", separators)
    assert column.values(np.arange(2, dtype=np.int32)) == [expected, ["x|y; z"]]


@pytest.mark.parametrize(
    ("kind", "bad"),
    [("number", "ten"), ("number", "inf"), ("boolean", "2"), ("date", "31.1.2026")],
)
def test_a_value_of_another_kind_is_named_with_its_place(kind: Kind, bad: str) -> None:
    with pytest.raises(WrongValue, match=f"'{bad}' is no {kind}") as caught:
        read_column(["", bad, bad], kind)
    assert caught.value.place == 1
    assert caught.value.kind == kind


def test_a_json_list_with_half_of_a_character_is_named() -> None:
    texts = ['["a"]', r'["b", "\ud83d"]', r'["\ud83d\ude00"]']
    assert guessed_kind(texts) == "list"
    with pytest.raises(
        WrongValue, match=r"ud83d.* is no list: it has half of a character"
    ) as caught:
        read_column(texts, "list")
    assert caught.value.place == 1
    assert read_column(texts[2:], "list").values(np.zeros(1, np.int32)) == [["\U0001f600"]]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-01T00:01", 60),
        ("1970-01-01 00:00:05.75", 5),
        ("1969-12-31T23:59:59.9Z", -1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:07.123456-00:30", 1_807),
    ],
)
def test_dates_are_of_utc_unless_they_say_another_zone(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2026", "2026-13-01", "2026-01-01T25:00", "x2026-01-01"])
def test_what_is_no_date_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        seconds_of(text or "?")


def test_a_kind_may_be_named() -> None:
    assert [named_kind(f"x:{kind}") for kind in KINDS] == [("x", kind) for kind in KINDS]
    assert named_kind("year") == ("year", None)
    assert named_kind("a:b") == ("a:b", None)
    assert named_kind("a:b:list") == ("a:b", "list")
    assert named_kind(":list") == (":list", None)
