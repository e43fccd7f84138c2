"""``export --attributes``: columns of the item file → typed attributes of the items."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import pandas as pd

from builder.data.layouts.known import GENRES
from builder.data.tables import Catalogue
from builder.errors import ConfigError
from model_repository.core.attribute_values import (
    WrongValue,
    guessed_kind,
    named_kind,
    read_column,
    separators_of,
)
from model_repository.core.attributes import Attributes, Column, Kind

_FILM_COLUMNS: Final = (
    ("title", "year", "genres"),
    ("movie_title", "release_year", "class"),  # as RecBole calls them
)
# Those of 100K, and what later sets added.
_GENRES: Final = {*GENRES, "Children", "IMAX"}
# Series have two, such as 1975-1979, and a few films have a word in its place.
_YEAR: Final = re.compile(r"\d{4}")


def read_attributes(
    catalogue: Catalogue, asked: Sequence[str], trained: int | None = None
) -> Attributes:
    """Read columns of the item file, each asked for as ``name`` or ``name:kind``.

    Of MovieLens, ``genres`` and ``year`` are known by these names in each of its formats. That, and
    what separates the values of lists, is told from the first ``trained`` items, all by default: so
    items that are added do not change what the others have.

    Raises
    ------
    ConfigError
        There is no such column, or a value is of another kind.
    """
    columns = _with_usual_names(catalogue.columns, trained)
    named = dict(map(named_kind, asked))
    if unknown := [name for name in named if name not in columns]:
        raise ConfigError(
            f"--attributes {','.join(unknown)}: the item file had no such column; its columns "
            f"are {', '.join(map(str, columns)) or 'none'}"
        )
    found: dict[str, Column] = {}
    for name, kind in named.items():
        texts = [str(text) for text in columns[name]]
        try:
            separators = separators_of(texts[:trained])
            found[name] = read_column(texts, kind or _guessed_kind(texts), separators)
        except WrongValue as error:
            guessed = guessed_kind(texts)
            other = "text" if guessed == error.kind else guessed
            raise ConfigError(
                f"--attributes {name}:{error.kind}: item {catalogue.item_ids[error.place]!r}: "
                f"{error}; mend the item file, or name the kind {other}"
            ) from None
    return Attributes(found)


def all_attributes(catalogue: Catalogue) -> Attributes:
    """Every column of the item file, each of the kind that `read_attributes` would guess."""
    return read_attributes(catalogue, [str(name) for name in _with_usual_names(catalogue.columns)])


def _with_usual_names(columns: pd.DataFrame, trained: int | None = None) -> pd.DataFrame:
    """The columns; those of MovieLens under their usual names too."""
    for title, year, genres in _FILM_COLUMNS:
        if {title, year, genres} <= set(columns) and _are_genres(columns[genres][:trained]):
            first = [_YEAR.match(str(each)) for each in columns[year]]
            years = [found[0] if found else "" for found in first]
            return columns.assign(year=years, genres=columns[genres])
    return columns


def _guessed_kind(texts: Iterable[str]) -> Kind:
    texts = list(texts)
    return "list" if _are_genres(texts) else guessed_kind(texts)


def _are_genres(texts: Iterable[str]) -> bool:
    """Whether texts are MovieLens' genres, which blanks separate."""
    words = {word for text in texts for word in str(text).split()}
    return bool(words) and words <= _GENRES
