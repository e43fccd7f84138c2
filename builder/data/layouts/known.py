"""Public data sets that are known by the names of their files: columns, and what has no header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from builder.data.config import Columns
from builder.data.files import TABLE_SUFFIXES

ROLES: Final = ("interactions", "items", "users")


@dataclass(frozen=True)
class KnownFormat:
    """A way in which data sets are published.

    Attributes
    ----------
    columns
        The usual names.
    files
        Role → patterns of the file's name.
    headers
        Name of a file without a header → what separates its values, and its columns.
    encoding
        Of text without a header that is not UTF-8.
    """

    columns: Columns
    files: Mapping[str, Sequence[str]]
    headers: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    encoding: str | None = None


GENRES: Final = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Columns of MovieLens 100K, each 1 or 0."""
FILM: Final = ("movieId", "title", "release_date", "video_release_date", "imdb_url", *GENRES)
_RATINGS: Final = ("userId", "movieId", "rating", "timestamp")
_NEWS: Final = (
    *("news_id", "category", "subcategory", "title", "abstract", "url"),
    *("title_entities", "abstract_entities"),
)

FORMATS: Final[Mapping[str, KnownFormat]] = {
    "movielens": KnownFormat(
        Columns("userId", "movieId", None, "timestamp", "rating"),
        {
            "interactions": ["ratings.csv", "ratings.dat", "u.data"],
            "items": ["movies.csv", "movies.dat", "u.item"],
            "users": ["users.dat", "u.user"],
        },
        # MovieLens 1M and 10M, and 100K.
        {
            "ratings.dat": ("::", _RATINGS),
            "movies.dat": ("::", ("movieId", "title", "genres")),
            "users.dat": ("::", ("userId", "gender", "age", "occupation", "zip")),
            "u.data": ("\t", _RATINGS),
            "u.item": ("|", FILM),
            "u.user": ("|", ("userId", "age", "gender", "occupation", "zip")),
        },
        "latin-1",
    ),
    "mind": KnownFormat(
        Columns("user_id", "impressions", "news_id", "time"),
        {"interactions": ["behaviors.tsv"], "items": ["news.tsv"], "users": []},
        {
            "behaviors.tsv": ("\t", ("impression_id", "user_id", "time", "history", "impressions")),
            "news.tsv": ("\t", _NEWS),
        },
    ),
    "recbole": KnownFormat(
        Columns("user_id", "item_id", None, "timestamp", "rating"),
        {"interactions": ["*.inter"], "items": ["*.item"], "users": ["*.user"]},
    ),
    "table": KnownFormat(
        Columns("user_id", "item_id", None, "timestamp", "rating", "action"),
        {role: [role + suffix for suffix in TABLE_SUFFIXES] for role in ROLES},
    ),
}
"""By the names that ``--format`` takes."""
