"""Columns of the item file become attributes of the kinds that were named, or are guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from builder.data.tables import Catalogue
from builder.errors import ConfigError
from builder.export.add_items import _attributes_of
from builder.export.attributes import read_attributes
from builder.export.commands import _attributes_text
from builder.repository.manifest import VersionRecord
from model_repository.core.attributes import Attributes

TABLE = Catalogue(
    ["a", "b", "c"],
    ["A", "B", "C"],
    pd.DataFrame(
        {
            "price": ["1.5", "", "2"],
            "tags": ["x|y", "", "y"],
            "words": ["x y", "y", ""],
            "size:list": ["1", "2", "3"],
        }
    ),
)


def films(**columns: list[str]) -> Catalogue:
    return Catalogue(["1", "2", "3"], ["A", "B", "C"], pd.DataFrame(columns))


def all_of(found: Attributes) -> dict[str, tuple[str, list[Any]]]:
    items = np.arange(3, dtype=np.int32)
    return {name: (each.kind, each.values(items)) for name, each in found.columns.items()}


def test_kinds_are_guessed_or_named() -> None:
    assert all_of(read_attributes(TABLE, ["tags", "price:text", "words:list", "words"])) == {
        "tags": ("list", [["x", "y"], [], ["y"]]),
        "price": ("text", ["1.5", None, "2"]),
        "words": ("text", ["x y", "y", None]),
    }
    assert all_of(read_attributes(TABLE, ["price", "words:list"])) == {
        "price": ("number", [1.5, None, 2]),
        "words": ("list", [["x", "y"], ["y"], []]),
    }


def test_a_value_that_does_not_fit_is_named_with_its_item_and_the_kind_that_does() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^--attributes words:number: item 'a': 'x y' is no number; .* the kind text$",
    ):
        read_attributes(TABLE, ["words:number"])
    half = films(words=[r'["\ud83d"]', '["x"]', ""])
    with pytest.raises(ConfigError, match=r"words:list: item '1': .* half of .* the kind text$"):
        read_attributes(half, ["words"])


@pytest.mark.parametrize(
    "names", [("title", "year", "genres"), ("movie_title", "release_year", "class")]
)
def test_movielens_has_genres_and_a_year_in_each_format(names: tuple[str, str, str]) -> None:
    title, year, genres = names
    table = films(
        **{title: ["A", "B", "C"], year: ["1995", "V", "1975–1979"],
           genres: ["Film-Noir Children's", "", "IMAX"]},
    )  # fmt: skip
    assert all_of(read_attributes(table, ["genres", "year"])) == {
        "genres": ("list", [["Children's", "Film-Noir"], [], ["IMAX"]]),
        "year": ("number", [1995, None, 1975]),
    }


def test_what_only_looks_like_movielens_stays_as_it_is() -> None:
    table = films(title=["A", "B", "C"], year=["1", "2", "3-4"], genres=["Drama", "Krimi", ""])
    assert all_of(read_attributes(table, ["genres", "year"])) == {
        "genres": ("text", ["Drama", "Krimi", None]),
        "year": ("text", ["1", "2", "3-4"]),
    }


@pytest.mark.parametrize("added", ["Anime", "Sci-Fi, Drama", "Sci-Fi|Drama"])
def test_an_added_item_does_not_change_what_the_others_have(added: str) -> None:
    table = films(
        title=["A", "B", "C"], year=["1995", "V", "1997"], genres=["Action Drama", "Comedy", added],
        words=["x y", "z", added],
    )  # fmt: skip
    found = all_of(read_attributes(table, ["genres:list", "year:number", "words:list"], 2))
    for name in ("genres", "words"):
        assert found[name][1][2] == sorted(added.replace(", ", "|").split("|"))
    assert found["genres"][1][:2] == [["Action", "Drama"], ["Comedy"]]
    assert found["words"][1][:2] == [["x", "y"], ["z"]]
    assert found["year"][1] == [1995, None, 1997]


def test_kinds_are_told_after_an_export() -> None:
    told = {"attributes": {"year": "number", "tags": "list"}}
    assert _attributes_text(told) == "  attributes  year:number, tags:list\n"
    assert _attributes_text({"attributes": {}}) == _attributes_text({}) == ""


def test_the_next_version_asks_for_the_kinds_of_this_one() -> None:
    def asked(**details: Any) -> list[str]:
        return list(_attributes_of(VersionRecord("", "embedded", "", (), details)))

    assert asked(attributes={"year": "number", "tags": "list"}) == ["year:number", "tags:list"]
    assert asked(attributes=["year", "tags"]) == ["year", "tags"]  # before there were kinds
    assert asked() == []
