"""What an item's text is made of where nobody says it."""

from __future__ import annotations

import ast
import re
from typing import Final

import pandas as pd

from builder.data.layouts.known import FILM, GENRES
from builder.data.layouts.peek import ROWS, is_time
from builder.data.rows import MISSING
from builder.data.template import Template

_FILM: Final = "{title} ({year}) {genres}"
_USUAL_TEMPLATES: Final = {
    "movielens": [_FILM],
    "mind": ["{title} {category} {subcategory}"],
    "recbole": ["{movie_title} ({release_year}) {class}", _FILM],  # MovieLens as RecBole writes it
}
# Series have two years, or one that is still open: Fawlty Towers (1975-1979), Sense8 (2015-).
_TITLE_AND_YEAR: Final = re.compile(r"^(.*?)\s*\((\d{4}(?:[-\u2013]\d{0,4})?)\)\s*$", re.DOTALL)
_TRUTHS: Final = frozenset(("true", "false", "True", "False", "TRUE", "FALSE"))
# Objects, and lists of objects or of numbers, as Python or JSON writes them.
_NESTED: Final = re.compile(r"\[?\{.*\}\]?$|\[[\d\s.,+-]*\]$", re.DOTALL)
_ADDRESS: Final = re.compile(r"\w+://\S*$")


def tidy_items(kind: str, items: pd.DataFrame) -> pd.DataFrame:
    """Give MovieLens' items a title, a year and genres of their own; leave the others alone."""
    if kind == "movielens" and set(FILM) <= set(items.columns):
        flags = items[[*GENRES[1:]]]
        genres = ["|".join(flags.columns[row]) for row in (flags == "1").to_numpy()]
        items = items.drop(columns=[*GENRES]).assign(genres=genres)
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

    A column holds text when any of its values is neither a number, an address, true or false, nor a
    list of objects or numbers, and they are not all times.
    """
    for text in _USUAL_TEMPLATES.get(kind, ()):
        template = Template.parse(text)
        if set(template.columns) <= set(items.columns):
            return template
    return Template.join(
        name
        for name in items.columns
        if name != key
        and not all(map(_is_no_text, items[name]))
        and not is_time(items[name][:ROWS].tolist())
    )


def plain_values(items: pd.DataFrame, key: str) -> pd.DataFrame:
    """Lists that are written as text become words, and words for a missing value nothing.

    A word that one item alone has may be its name.
    """
    plain = {}
    for name in items.columns.drop(key):
        values = items[name]
        missing = values.isin(MISSING - {""})
        if (missing & values.duplicated(keep=False)).any():
            values = values.mask(missing & values.duplicated(keep=False), "")
        if any(values) and all(value[:1] + value[-1:] in ("", "[]") for value in values):
            values = values.map(_listed)
        if values is not items[name]:
            plain[name] = values
    return items.assign(**plain)


def _listed(text: str) -> str:
    """The values of a list as Python or JSON writes it; other text as it is."""
    try:
        values = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return text
    return " ".join(values)


def _is_no_text(value: str) -> bool:
    if value in _TRUTHS:
        return True
    try:
        float(value or "0")
    except ValueError:
        return (_ADDRESS.match(value) or _NESTED.match(value)) is not None
    return True
