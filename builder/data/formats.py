"""Finds the files of a data set and knows the usual column names of each format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import pandas as pd

from builder.data.config import Columns, DataConfig
from builder.data.dialect import Dialect, spoken
from builder.data.files import TABLE_SUFFIXES
from builder.data.sources import COMPRESSED_SUFFIXES, first_line, uncompressed
from builder.data.template import Template
from builder.errors import DataError

_USUAL_COLUMNS: Final = {
    "recbole": Columns("user_id", "item_id", None, "timestamp", "rating"),
    "movielens": Columns("userId", "movieId", None, "timestamp", "rating"),
    "table": Columns("user_id", "item_id", None, "timestamp", "rating", "action"),
}
_USUAL_FILES: Final[dict[str, dict[str, Sequence[str]]]] = {
    "movielens": {
        "interactions": ["ratings.csv", "ratings.dat", "u.data"],
        "items": ["movies.csv", "movies.dat", "u.item"],
        "users": ["users.dat", "u.user"],
    },
    "recbole": {"interactions": ["*.inter"], "items": ["*.item"], "users": ["*.user"]},
    "table": {
        role: [role + suffix for suffix in TABLE_SUFFIXES]
        for role in ("interactions", "items", "users")
    },
}
_USUAL_TEMPLATES: Final = (
    "{movie_title} ({release_year}) {class}",  # MovieLens as RecBole writes it
    "{title} ({year}) {genres}",
)
# Series have two years, or one that is still open: Fawlty Towers (1975-1979), Sense8 (2015-).
_TITLE_AND_YEAR: Final = re.compile(r"^(.*?)\s*\((\d{4}(?:[-\u2013]\d{0,4})?)\)\s*$", re.DOTALL)


_LOOSE: Final = (*COMPRESSED_SUFFIXES, ".txt", ".dat", "")
_GENRES: Final = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
_RATINGS: Final = ("userId", "movieId", "rating", "timestamp")
_FILM: Final = ("movieId", "title", "release_date", "video_release_date", "imdb_url", *_GENRES)
# MovieLens 1M and 10M, and 100K, which have no header.
_WITHOUT_HEADER: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "ratings.dat": ("::", _RATINGS),
    "movies.dat": ("::", ("movieId", "title", "genres")),
    "users.dat": ("::", ("userId", "gender", "age", "occupation", "zip")),
    "u.data": ("\t", _RATINGS),
    "u.item": ("|", _FILM),
    "u.user": ("|", ("userId", "age", "gender", "occupation", "zip")),
}


@dataclass(frozen=True)
class Layout:
    """The files of a data set and the columns to look for.

    ``columns`` is complete but for those that the format does not have; ``given`` holds the
    columns that the user named, which therefore must exist. ``dialects`` says how the text of the
    log, the item file and the user file is written.
    """

    format: str
    interactions: Path
    items: Path
    users: Path | None
    columns: Columns
    given: Columns
    dialects: Mapping[str, Dialect]


def find_layout(config: DataConfig) -> Layout:
    """Find the files that the configuration means.

    Raises
    ------
    DataError
        No directory, a file that is not there, or several that could be meant.
    """
    if not config.directory.is_dir():
        raise DataError(
            f"{config.directory}: no such directory; give the one that holds the data's files"
        )
    kind = _guess_format(config) if config.format == "auto" else config.format
    problems: list[str] = []
    found = {
        role: _find_file(config, kind, role, problems)
        for role in ("interactions", "items", "users")
    }
    interactions, items = found["interactions"], found["items"]
    if problems or interactions is None or items is None:
        raise DataError("\n".join(problems))
    columns = _columns(config, kind)
    dialects = {
        role: _dialect(config, kind, role, path, columns)
        for role, path in found.items()
        if path is not None
    }
    return Layout(kind, interactions, items, found["users"], columns, config.columns, dialects)


def layout_of_items(config: DataConfig, file: Path) -> Layout:
    """For an item file that is read by itself, wherever it is; there is no log."""
    alone = replace(config, directory=file.parent, items=file.name, interactions=None, users=None)
    kind = _guess_format(alone) if config.format == "auto" else config.format
    columns = _columns(config, kind)
    dialects = {"items": _dialect(config, kind, "items", file, columns)}
    return Layout(kind, file, file, None, columns, config.columns, dialects)


def _dialect(config: DataConfig, kind: str, role: str, path: Path, columns: Columns) -> Dialect:
    key = {"items": columns.item_key or columns.item, "users": columns.user}.get(role)
    said = Dialect(config.encoding, None, spoken(config.separator), config.quote, (), key)
    names = _names_given(config, role, columns)
    if names:
        return replace(said, names=names)
    known = _WITHOUT_HEADER.get(uncompressed(path).name.lower()) if kind == "movielens" else None
    if known is None:
        return said
    separator, names = known
    values = first_line(path).split(said.separator or separator)
    if len(values) == 1:  # some other file of this name
        return said
    if len(values) != len(names):
        names = (names[0], *(f"column_{place}" for place in range(2, len(values) + 1)))
    return Dialect(said.encoding, "latin-1", said.separator or separator, "none", names)


def _names_given(config: DataConfig, role: str, columns: Columns) -> tuple[str, ...]:
    """The columns of a file without a header, where a role stands for the name of its column."""
    if role == "interactions":
        roles = {each.name: getattr(columns, each.name) for each in fields(Columns)}
        return tuple(roles.get(name) or name for name in config.log_columns)
    if role == "items":
        key = columns.item_key or columns.item or "item"
        return tuple(key if name == "item" else name for name in config.item_columns)
    user = columns.user or "user"
    return tuple(user if name == "user" else name for name in config.user_columns)


def _columns(config: DataConfig, kind: str) -> Columns:
    usual = _USUAL_COLUMNS[kind]
    return Columns(
        *(getattr(config.columns, f.name) or getattr(usual, f.name) for f in fields(Columns))
    )


def _guess_format(config: DataConfig) -> str:
    named = [name for name in (config.interactions, config.items) if name is not None]
    for kind in ("movielens", "recbole"):
        logs, items = (_USUAL_FILES[kind][role] for role in ("interactions", "items"))
        if named:
            if any(
                uncompressed(Path(name)).match(pattern)
                for name in named
                for pattern in (*logs, *items)
            ):
                return kind
        elif _files(config.directory, logs) and _files(config.directory, items):
            return kind
    return "table"


def _files(directory: Path, patterns: Sequence[str]) -> list[Path]:
    """The files of these names, compressed or not.

    Notes beside ``items.csv`` may be named ``items.txt``, and a copy ``items.csv.gz``.
    """
    endings = ("", *COMPRESSED_SUFFIXES)
    found = {
        path
        for pattern in patterns
        for ending in endings
        for path in directory.glob(pattern + ending)
    }
    files = sorted(path for path in found if path.is_file())
    certain = [path for path in files if path.suffix.lower() not in _LOOSE]
    return certain or files


def _find_file(config: DataConfig, kind: str, role: str, problems: list[str]) -> Path | None:
    name: str | None = getattr(config, role)
    if name is not None:
        path = config.directory / name
        if not path.is_file():
            problems.append(f"{path}: no such file; {_listing(config.directory)}")
        return path
    patterns = _USUAL_FILES[kind][role]
    found = _files(config.directory, patterns)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        problems.append(
            f"{config.directory}: several files could hold the {role} ({names}); name one of them "
            f"with --{role}"
        )
    elif not found and role != "users":
        problems.append(
            f"{config.directory}: no file for the {role} (looked for {', '.join(patterns)}, also "
            f"compressed); name it with --{role}; {_listing(config.directory)}"
        )
    return found[0] if found else None


def _listing(directory: Path) -> str:
    names = sorted(path.name for path in directory.iterdir())
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"the directory holds {shown or 'nothing'}"


def tidy_items(kind: str, items: pd.DataFrame) -> pd.DataFrame:
    """Give MovieLens' items a title, a year and genres of their own; leave the others alone."""
    if kind == "movielens" and set(_FILM) <= set(items.columns):
        flags = items[_GENRES[1:]]
        genres = ["|".join(flags.columns[row]) for row in (flags == "1").to_numpy()]
        items = items.drop(columns=_GENRES).assign(genres=genres)
    if kind != "movielens" or not {"title", "genres"} <= set(items.columns):
        return items
    matches = [_TITLE_AND_YEAR.match(title) for title in items["title"]]
    titles = [
        match[1] if match else title.strip()
        for match, title in zip(matches, items["title"], strict=True)
    ]
    genres = [
        "" if genre == "(no genres listed)" else genre.replace("|", " ")
        for genre in items["genres"]
    ]
    years = [match[2] if match else "" for match in matches]
    return items.assign(title=titles, year=years, genres=genres)


def usual_template(kind: str, items: pd.DataFrame, key: str) -> Template:
    """Return the format's template, or else one that joins all columns that hold text.

    A column holds text when any of its values is not a number.
    """
    if kind != "table":
        for text in _USUAL_TEMPLATES:
            template = Template.parse(text)
            if set(template.columns) <= set(items.columns):
                return template
    return Template.join(
        name for name in items.columns if name != key and not all(map(_is_number, items[name]))
    )


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
