"""Where the data is and how its columns are to be understood."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from builder.data.request_time import REQUEST_TIME, Clock
from builder.data.template import Template
from builder.errors import ConfigError

FORMATS: Final = ("auto", "recbole", "movielens", "table")
CONTEXT: Final = ("keep", "drop")
_LISTS: Final = ("profile", "item_profile", "item_vectors", "request_time", "target_actions")


@dataclass(frozen=True)
class Columns:
    """The names of the columns that matter; None means the usual name of the format.

    ``item`` is the item id in the log, ``item_key`` the item id in the item file (None: the same
    name as in the log). ``user`` names the user id in the user file too.
    """

    user: str | None = None
    item: str | None = None
    item_key: str | None = None
    time: str | None = None
    rating: str | None = None
    action: str | None = None


@dataclass(frozen=True)
class DataConfig:
    """One data set and how to read it.

    Attributes
    ----------
    directory
        Where the files are.
    format
        ``recbole`` (``.inter``, ``.item``, ``.user``), ``movielens`` (``ratings.csv``,
        ``movies.csv``), ``table`` (CSV, TSV, Parquet or JSON lines) or ``auto``.
    interactions, items, users
        File names inside the directory; None to find them by their usual names.
    columns
        The column mapping.
    text
        Template of an item's text over the columns of the item file; None for the default of the
        format.
    min_rating
        The events rated this or higher are targets, what a recommendation is to lead to; None: all
        are.
    target_actions
        The actions of which events are targets; empty: whatever the action.
    context
        What becomes of the events that are no targets: with ``keep`` they stay in the histories, so
        that the model knows what a user has seen and not liked, with ``drop`` they are left out.
    min_events
        Keep the users with at least this many targets.
    profile, item_profile
        Columns of the user file that the model is to know of a user, and of the item file that it
        is to know of an item beside its text.
    item_vectors
        Columns of the item file that hold a vector of another modality, made beforehand.
    request_time, time_zone
        What the model is to know of when a request is made, of `REQUEST_TIME`, and by the clock of
        which time zone.

    Raises
    ------
    ConfigError
        Values that make no sense, all of them in one message.
    """

    directory: Path
    format: str = "auto"
    interactions: str | None = None
    items: str | None = None
    users: str | None = None
    columns: Columns = Columns()
    text: str | None = None
    min_rating: float | None = None
    target_actions: tuple[str, ...] = ()
    context: str = "keep"
    min_events: int = 1
    profile: tuple[str, ...] = ()
    item_profile: tuple[str, ...] = ()
    item_vectors: tuple[str, ...] = ()
    request_time: tuple[str, ...] = ()
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        names = {name: getattr(self, name) for name in ("interactions", "items", "users")}
        names |= {f"columns.{name}": value for name, value in asdict(self.columns).items()}
        problems = [
            f"{name} {value!r}: must be a name"
            for name, value in names.items()
            if not _is_text(value)
        ]
        if self.format not in FORMATS:
            problems.append(f"format {self.format!r}: must be one of {', '.join(FORMATS)}")
        if self.context not in CONTEXT:
            problems.append(f"context {self.context!r}: must be one of {', '.join(CONTEXT)}")
        problems += [
            f"target_actions {name!r}: must be the name of an action, once"
            for place, name in enumerate(self.target_actions)
            if not _is_text(name) or name is None or name in self.target_actions[:place]
        ]
        if not _is_number(self.min_rating):
            problems.append(f"min_rating {self.min_rating!r}: must be a finite number")
        if type(self.min_events) is not int or self.min_events < 1:
            problems.append(f"min_events {self.min_events!r}: must be a whole number from 1 up")
        for field in ("profile", "item_profile", "item_vectors"):
            given, file = getattr(self, field), "user" if field == "profile" else "item"
            problems += [
                f"{field} {name!r}: must be the name of a column of the {file} file, once"
                for place, name in enumerate(given)
                if not _is_text(name) or name is None or name in given[:place]
            ]
        problems += [
            f"item_vectors {name!r}: item_profile has this column too; leave it out of one of them"
            for name in self.item_vectors
            if name in self.item_profile
        ]
        problems += _template_problems(self.text)
        problems += self._clock_problems()
        _raise_if_any(problems)

    def _clock_problems(self) -> list[str]:
        problems = [
            f"request_time {name!r}: must be one of {', '.join(REQUEST_TIME)}, once"
            for place, name in enumerate(self.request_time)
            if name not in REQUEST_TIME or name in self.request_time[:place]
        ]
        problems += [
            f"profile {name!r}: request_time has a column of this name; rename the one of the user "
            "file, or leave one of the two out"
            for name in self.request_time
            if name in self.profile
        ]
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, OSError, TypeError, ValueError):  # not found, a folder, no name at all
            problems.append(_no_zone(self.time_zone))
        else:
            if self.time_zone != "UTC" and not self.request_time:
                problems.append(
                    f"time_zone {self.time_zone!r}: is of request_time; give hour,weekday there too"
                )
        return problems

    @property
    def clock(self) -> Clock:
        return Clock(self.request_time, self.time_zone)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``from_dict`` reads them back."""
        return {**asdict(self), "directory": str(self.directory)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataConfig:
        """Build the configuration from JSON values; keys left out get their defaults.

        But for ``context``: runs of before there was such a key had dropped it.

        Raises
        ------
        ConfigError
            Unknown keys (all of them), no directory, or values that make no sense.
        """
        known = {field.name for field in fields(cls)}
        known_columns = {field.name for field in fields(Columns)}
        columns = values.get("columns", {})
        if not isinstance(columns, Mapping):
            raise ConfigError(
                f"data configuration: columns {columns!r}: must map names to columns, as in "
                '{"user": "user_id"}'
            )
        problems = [
            f"unknown key {key!r}: must be one of {', '.join(sorted(known))}"
            for key in values
            if key not in known
        ]
        problems += [
            f"unknown key 'columns.{key}': must be one of {', '.join(sorted(known_columns))}"
            for key in columns
            if key not in known_columns
        ]
        profiles = {name: values.get(name, ()) for name in _LISTS}
        problems += [
            f"{name} {given!r}: must be a list of names"
            for name, given in profiles.items()
            if isinstance(given, str) or not isinstance(given, Sequence)
        ]
        if not isinstance(values.get("directory"), str | Path):
            problems.append("directory: must be given, as a path")
        _raise_if_any(problems)
        return cls(
            **{
                "context": "drop",
                **values,
                "directory": Path(values["directory"]),
                "columns": Columns(**columns),
                **{name: tuple(given) for name, given in profiles.items()},
            }
        )


def _no_zone(name: object) -> str:
    return (
        f"time_zone {name!r}: there is no such time zone; give a name of the IANA database such as "
        "Europe/Berlin (where a system has no database, `pip install tzdata`)"
    )


def _template_problems(text: object) -> list[str]:
    if not isinstance(text, str):
        return [] if text is None else [f"text {text!r}: must be a template such as '{{title}}'"]
    try:
        Template.parse(text)
    except ConfigError as error:
        return [str(error)]
    return []


def _is_text(value: object) -> bool:
    return value is None or (isinstance(value, str) and value != "")


def _is_number(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


def _raise_if_any(problems: list[str]) -> None:
    if problems:
        raise ConfigError("data configuration: " + "\n".join(problems))
