"""Finds the files of a data set and knows the usual column names of each format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import pandas as pd

from builder.data.config import Columns, DataConfig
from builder.data.files import TABLE_SUFFIXES
from builder.data.template import Template
from builder.errors import DataError

_USUAL_COLUMNS: Final = {
    "recbole": Columns("user_id", "item_id", None, "timestamp", "rating"),
    "movielens": Columns("userId", "movieId", None, "timestamp", "rating"),
    "table": Columns("user_id", "item_id", None, "timestamp", "rating", "action"),
}
_USUAL_FILES: Final[dict[str, dict[str, Sequence[str]]]] = {
    "recbole": {"interactions": ["*.inter"], "items": ["*.item"], "users": ["*.user"]},
    "movielens": {"interactions": ["ratings.csv"], "items": ["movies.csv"], "users": []},
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


@dataclass(frozen=True)
class Layout:
    """The files of a data set and the columns to look for.

    ``columns`` is complete but for those that the format does not have; ``given`` holds the
    columns that the user named, which therefore must exist.
    """

    format: str
    interactions: Path
    items: Path
    users: Path | None
    columns: Columns
    given: Columns


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
    return Layout(kind, interactions, items, found["users"], columns, config.columns)


def layout_of_items(config: DataConfig, file: Path) -> Layout:
    """For an item file that is read by itself, wherever it is; there is no log."""
    alone = replace(config, directory=file.parent, items=file.name, interactions=None, users=None)
    kind = _guess_format(alone) if config.format == "auto" else config.format
    return Layout(kind, file, file, None, _columns(config, kind), config.columns)


def _columns(config: DataConfig, kind: str) -> Columns:
    usual = _USUAL_COLUMNS[kind]
    return Columns(
        *(getattr(config.columns, f.name) or getattr(usual, f.name) for f in fields(Columns))
    )


def _guess_format(config: DataConfig) -> str:
    named = [name for name in (config.interactions, config.items) if name is not None]
    for kind in ("recbole", "movielens"):
        patterns = (*_USUAL_FILES[kind]["interactions"], *_USUAL_FILES[kind]["items"])
        if named:
            if any(Path(name).match(pattern) for name in named for pattern in patterns):
                return kind
        elif all(any(config.directory.glob(pattern)) for pattern in patterns):
            return kind
    return "table"


def _find_file(config: DataConfig, kind: str, role: str, problems: list[str]) -> Path | None:
    name: str | None = getattr(config, role)
    if name is not None:
        path = config.directory / name
        if not path.is_file():
            problems.append(f"{path}: no such file; {_listing(config.directory)}")
        return path
    patterns = _USUAL_FILES[kind][role]
    found = sorted({path for pattern in patterns for path in config.directory.glob(pattern)})
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        problems.append(
            f"{config.directory}: several files could hold the {role} ({names}); name one of them"
        )
    elif not found and role != "users":
        problems.append(
            f"{config.directory}: no file for the {role} (looked for {', '.join(patterns)}); "
            f"name it; {_listing(config.directory)}"
        )
    return found[0] if found else None


def _listing(directory: Path) -> str:
    names = sorted(path.name for path in directory.iterdir())
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"the directory holds {shown or 'nothing'}"


def tidy_items(kind: str, items: pd.DataFrame) -> pd.DataFrame:
    """Give MovieLens' items a title, a year and genres of their own; leave the others alone."""
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
