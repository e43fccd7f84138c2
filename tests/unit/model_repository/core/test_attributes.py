"""Columns give back what they were made of, for all items and for some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core.attributes import (
    NO_CODE,
    NO_DATE,
    Attributes,
    BooleanColumn,
    Column,
    DateColumn,
    NumberColumn,
    code_of,
    codes_of,
    list_column,
    text_column,
)
from model_repository.core.errors import InvalidRequest
from model_repository.core.identifiers import Strings

TEXTS = st.text("aé😀z", max_size=2)


def all_of(column: Column) -> list[object]:
    return column.values(np.arange(len(column), dtype=np.int32))


def some(*items: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(items, np.int32)


@given(st.lists(st.none() | TEXTS))
def test_texts_come_back(texts: list[str | None]) -> None:
    column = text_column(texts)
    assert all_of(column) == texts
    words = sorted({text for text in texts if text is not None}, key=str.encode)
    assert [column.vocabulary[place].decode() for place in range(len(column.vocabulary))] == words
    for text in (*words, "none of them"):
        expected = words.index(text) if text in words else NO_CODE
        assert code_of(column.vocabulary, text) == expected


@given(st.lists(st.lists(TEXTS, max_size=3)))
def test_lists_come_back_and_know_the_items_of_each_text(lists: list[list[str]]) -> None:
    column = list_column(lists)
    assert all_of(column) == [sorted(set(texts)) for texts in lists]
    for text in {text for texts in lists for text in texts}:
        having = column.items_with(code_of(column.vocabulary, text))
        assert having.tolist() == [item for item, texts in enumerate(lists) if text in texts]
        assert having.dtype == np.int32
    assert not len(column.items_with(NO_CODE))


def test_what_is_absent_is_none_and_dates_are_iso() -> None:
    assert all_of(NumberColumn(np.array([1.0, 2.5, np.nan]))) == [1, 2.5, None]
    assert all_of(BooleanColumn(np.array([1, 0, -1], np.int8))) == [True, False, None]
    dates = DateColumn(np.array([86_400 * 365, 61, NO_DATE, -86_400]))
    assert all_of(dates) == ["1971-01-01", "1970-01-01T00:01:01+00:00", None, "1969-12-31"]


@pytest.mark.parametrize(
    ("column", "new", "expected"),
    [
        (text_column(["b", None, "a"]), text_column([None, "c"]), ["c", None, None]),
        (list_column([["b"], [], ["a"]]), list_column([[], ["c", "a"]]), [["a", "c"], [], []]),
        (NumberColumn(np.array([1.0, 2, 3])), NumberColumn(np.array([np.nan, 5])), [5, 2, None]),
        (
            BooleanColumn(np.array([1, 1, 1], np.int8)),
            BooleanColumn(np.array([-1, 0], np.int8)),
            [False, True, None],
        ),
        (
            DateColumn(np.array([0, 0, 0])),
            DateColumn(np.array([NO_DATE, 86_400])),
            ["1970-01-02", "1970-01-01", None],
        ),
    ],
)
def test_values_of_some_items_are_replaced(
    column: Column, new: Column, expected: Sequence[object]
) -> None:
    before = all_of(column)
    found = column.replaced(some(2, 0), new)  # type: ignore[arg-type]
    assert all_of(found) == expected
    assert all_of(column) == before
    # As if it had been made of these values.
    if found.kind == "list":
        assert found.values(some(0)) == [expected[0]]
        assert found.items_with(code_of(found.vocabulary, "b")).tolist() == []  # type: ignore[union-attr]


def test_codes_of_many_texts_are_those_that_are_known_in_order() -> None:
    assert codes_of(Strings.of(["a", "b", "c"]), ["c", "x", "a", "c"]).tolist() == [0, 2]


def test_an_attribute_that_is_not_there_is_named_with_what_to_do() -> None:
    known = Attributes({"genres": list_column([["a"]]), "year": NumberColumn(np.array([1.0]))})
    assert known.kind("genres") == "list"
    assert known.values("year", some(0, 0)) == [1, 1]
    with pytest.raises(InvalidRequest, match=r"'genre'\. Did you mean genres\? .*`--attributes g"):
        known.kind("genre")
    with pytest.raises(InvalidRequest, match=r"'zzz'\. It has genres, year\."):
        known.values("zzz", some())
    with pytest.raises(InvalidRequest, match=r"It has none\."):
        Attributes().kind("year")
