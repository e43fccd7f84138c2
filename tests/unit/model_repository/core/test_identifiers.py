"""Item ids in arrays: what goes in is found again, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import identifiers
from model_repository.core.identifiers import Identifiers, Strings, hash_table

# Of few characters, so that some are parts of others; and of many, so that UTF-8 has its say.
texts = st.one_of(st.text("ab", max_size=4), st.text(max_size=12))
catalogues = st.lists(texts, unique=True, max_size=60)


@given(catalogues, st.lists(texts, max_size=20))
def test_an_id_of_the_catalogue_is_its_place_and_any_other_is_none(
    ids: Sequence[str], others: Sequence[str]
) -> None:
    known = Identifiers.of(ids)
    asked = [*ids, *others, *ids]
    expected = [ids.index(each) if each in ids else None for each in asked]
    for _ in range(2):  # searched for, and remembered
        found = known.indices([each.encode() for each in asked])
        assert found == expected
        assert all(type(each) is int for each in found if each is not None)
    assert len(known) == len(ids)


@given(catalogues, st.sampled_from([0, 1, 2**32 - 1]))
def test_ids_of_one_hash_are_told_apart(ids: Sequence[str], value: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identifiers, "crc32", lambda _: value)
        known = Identifiers.of(ids)
        assert known.indices([each.encode() for each in ids]) == list(range(len(ids)))
        assert known.indices([b"of no item"]) == [None]


def test_bytes_that_are_no_text_are_no_item() -> None:
    assert Identifiers.of(["é"]).indices([b"\xc3", b"\xa9", b"\xff", "é".encode()]) == [
        None, None, None, 0,
    ]  # fmt: skip


def test_a_catalogue_of_nothing_knows_nothing() -> None:
    assert Identifiers.of([]).indices([b"", b"x"]) == [None, None]
    assert Identifiers.of([""]).indices([b"", b"x"]) == [0, None]


@given(catalogues)
def test_the_table_is_at_most_half_full(ids: Sequence[str]) -> None:
    table = hash_table(Strings.of(ids))
    assert table.dtype == np.int32
    assert np.log2(len(table)) % 1 == 0
    assert len(table) >= 2 * len(ids)
    assert sorted(table[table >= 0]) == list(range(len(ids)))


def test_memory_of_what_was_asked_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identifiers, "_REMEMBERED", 3)
    known = Identifiers.of([str(number) for number in range(10)])
    for number in [*range(10), *range(10)]:
        assert known.indices([str(number).encode(), b"unknown"]) == [number, None]
        assert len(known._known) <= 3


@given(st.lists(texts, max_size=20), st.data())
def test_strings_come_back(values: Sequence[str], data: st.DataObject) -> None:
    column = Strings.of(values)
    assert len(column) == len(values)
    assert [column[place] for place in range(len(values))] == [each.encode() for each in values]
    places = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=9)) if values else []
    taken = column.take(np.array(places, np.int32))
    assert taken.dtype == np.object_
    assert taken.tolist() == [values[place].encode() for place in places]
