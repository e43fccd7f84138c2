"""Where the data is, and how its columns are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

from builder.data.dialect import ENCODING, QUOTE, SEPARATOR, Quote, dialect_problems
from builder.data.request_time import REQUEST_TIME, Clock
from builder.data.template import Template
from builder.data.times import TimeFormat
from builder.errors import ConfigError
from builder.options import again, check, names, option, refuse

Format = Literal["auto", "recbole", "movielens", "mind", "table"]
MatchIds = Literal["exact", "loose"]
OnFault = Literal["error", "drop"]
OnItem = Literal["error", "drop", "keep"]
Context = Literal["keep", "drop"]
CONTEXT: Final = get_args(Context)
_PANEL: Final = "Data"
_SUBJECT: Final = "data configuration"
_NO_HEADER: Final = ("log_columns", "item_columns", "user_columns")
_LISTS: Final = (
    *("profile", "item_profile", "item_vectors", "request_time", "target_actions"),
    *_NO_HEADER,
)


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

    @classmethod
    def parse(cls, mapping: Sequence[str] | None) -> Columns:
        """What ``--column ROLE=NAME``, any number of times, says.

        Raises
        ------
        ConfigError
            One that is not ``ROLE=NAME``, or a role that is given twice.
        """
        found: dict[str, str] = {}
        problems = []
        for entry in mapping or ():
            role, equals, name = entry.partition("=")
            if not equals or not name or role not in ROLES:
                problems.append(
                    f"--column {entry!r}: write ROLE=NAME with a role of {', '.join(ROLES)}"
                )
            elif role in found:
                problems.append(f"--column {entry!r}: {role} is given twice; keep one")
            found[role] = name
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(**found)


ROLES: Final = tuple(field.name for field in fields(Columns))
_NAMES: Final[Mapping[str, Any]] = {"typed": str | None, "parse": names}


@dataclass(frozen=True)
class DataConfig:
    """One data set and how to read it.

    Attributes
    ----------
    directory
        Where the files are.

    Raises
    ------
    ConfigError
        Values that make no sense, all of them in one message.
    """

    directory: Path
    format: Format = option(
        "auto",
        "recbole (.inter, .item, .user), movielens (ratings.csv, ratings.dat or u.data and their "
        "films), mind (behaviors.tsv, news.tsv), table (delimited text, Parquet or JSON), or auto, "
        "which detects the format.",
        panel=_PANEL,
    )
    interactions: str | None = option(
        None,
        "The log, inside the directory. Default: the format's usual name.",
        panel=_PANEL, metavar="FILE",
    )  # fmt: skip
    items: str | None = option(
        None,
        "The item file, inside the directory. Default: the format's usual name.",
        panel=_PANEL, metavar="FILE",
    )  # fmt: skip
    users: str | None = option(
        None,
        "The user file, read for --profile, else only checked. Default: the format's usual name.",
        panel=_PANEL, metavar="FILE",
    )  # fmt: skip
    columns: Columns = option(
        Columns(),
        f"Name a column, as in time=created_at. Roles: {', '.join(ROLES)}. Repeatable.",
        panel=_PANEL, metavar="ROLE=NAME", flag="--column", typed=list[str] | None,
        parse=Columns.parse,
    )  # fmt: skip
    log_columns: tuple[str, ...] = option(
        (),
        "All columns of a log without a header, in their order: roles, as in "
        "user,item,rating,time, or names of columns.",
        panel=_PANEL, metavar="COLUMN,COLUMN", flag="--columns", **_NAMES,
    )  # fmt: skip
    item_columns: tuple[str, ...] = option(
        (),
        "All columns of an item file without a header, as in item,title,genres.",
        panel=_PANEL, metavar="COLUMN,COLUMN", **_NAMES,
    )  # fmt: skip
    user_columns: tuple[str, ...] = option(
        (),
        "All columns of a user file without a header, as in user,age,gender.",
        panel=_PANEL, metavar="COLUMN,COLUMN", **_NAMES,
    )  # fmt: skip
    encoding: str | None = option(None, panel=_PANEL, **ENCODING)
    separator: str | None = option(None, panel=_PANEL, **SEPARATOR)
    quote: Quote = option("auto", panel=_PANEL, **QUOTE)
    text: str | None = option(
        None,
        "Template of an item's text, as in '{title} ({year}) {genres}'.",
        panel=_PANEL, metavar="TEMPLATE",
    )  # fmt: skip
    time_format: TimeFormat = option(
        "auto",
        "What the times of the log are: a unit of Unix time, dates with the day or the month "
        "first, or auto, which also detects ISO 8601, YYYYMMDD and YYYYMMDDhhmmss.",
        panel=_PANEL,
    )
    match_ids: MatchIds = option(
        "exact",
        "Whether ids of log, item file and user file are the same only if written alike (exact), "
        "or also if they differ by spaces around, leading zeros, '.0' at the end, or case (loose).",
        panel=_PANEL,
    )
    on_bad_rows: OnFault = option(
        "error",
        "What happens to rows of the log without a user or an item, with a time or a rating that "
        "cannot be read, or with too few or too many values, and to rows of the other files with "
        "an id that is missing or was given already: they are errors, or left out with a warning.",
        panel=_PANEL,
    )
    on_unknown_items: OnItem = option(
        "error",
        "What happens to events with items that the item file does not have: they are errors, "
        "left out with a warning, or kept, with the id for a text.",
        panel=_PANEL,
    )
    on_items_without_text: OnItem = option(
        "error",
        "What happens to items without a text: they are errors, left out with their events, or "
        "kept, with the id for a text.",
        panel=_PANEL,
    )
    min_rating: float | None = option(
        None,
        "Events rated this or higher are targets, the events to recommend; see --context for "
        "the others.",
        panel=_PANEL,
    )
    target_actions: tuple[str, ...] = option(
        (),
        "Events with one of these actions are targets, the events to recommend, as in "
        "purchase; see --context for the others.",
        panel=_PANEL, metavar="ACTION,ACTION", **_NAMES,
    )  # fmt: skip
    context: Context = option(
        "keep",
        "What happens to events that are not targets: keep them in the histories, as seen "
        "items, or drop them.",
        panel=_PANEL,
    )
    min_events: int = option(
        1,
        "Keep only users with at least this many targets.",
        panel=_PANEL,
    )
    profile: tuple[str, ...] = option(
        (),
        "Columns of the user file that the model reads, as in age,gender.",
        panel=_PANEL, metavar="COLUMN,COLUMN", **_NAMES,
    )  # fmt: skip
    item_profile: tuple[str, ...] = option(
        (),
        "Columns of the item file that the model reads beside the text, as in brand,price.",
        panel=_PANEL, metavar="COLUMN,COLUMN", **_NAMES,
    )  # fmt: skip
    item_vectors: tuple[str, ...] = option(
        (),
        "Columns of the item file with vectors of another modality, such as an image's. A "
        "vector is a list of numbers; all vectors of a column have one length.",
        panel=_PANEL, metavar="COLUMN,COLUMN", **_NAMES,
    )  # fmt: skip
    request_time: tuple[str, ...] = option(
        (),
        f"Parts of the time of a request that the model reads: {', '.join(REQUEST_TIME)}. "
        "Needs a log with times.",
        panel=_PANEL, metavar="COLUMN,COLUMN", **_NAMES,
    )  # fmt: skip
    time_zone: str = option(
        "UTC",
        "Time zone of --request-time, as in Europe/Berlin.",
        panel=_PANEL, metavar="ZONE",
    )  # fmt: skip

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("interactions", "items", "users")}
        given |= {f"columns.{name}": value for name, value in asdict(self.columns).items()}
        problems = [
            f"{name} {value!r}: must be a name"
            for name, value in given.items()
            if not _is_text(value)
        ]
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
        problems += [
            f"{field} {name!r}: must be the name of a column, once"
            for field in _NO_HEADER
            for place, name in enumerate(getattr(self, field))
            if not _is_text(name) or name is None or name in getattr(self, field)[:place]
        ]
        problems += dialect_problems(self.encoding, self.separator, self.quote)
        problems += _template_problems(self.text)
        problems += self._clock_problems()
        check(self, _SUBJECT, problems)

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
                    f"time_zone {self.time_zone!r}: has no effect without request_time; give "
                    "that too, as in hour,weekday"
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
        refuse(_SUBJECT, problems)
        return cls(
            **{
                "context": "drop",
                **values,
                "directory": Path(values["directory"]),
                "columns": Columns(**columns),
                **{name: tuple(given) for name, given in profiles.items()},
            }
        )


_AS_TRAINED: Final = "Data (default: as in the training)"


@dataclass(frozen=True)
class ItemFileOptions:
    """How an item file is read that is written in another way than the training's.

    None or nothing stands for what the training had.
    """

    columns: Columns = again(
        DataConfig, "columns", Columns(), panel=_AS_TRAINED,
        meaning="Name the column of the ids, as in item_key=sku.", metavar="item_key=NAME",
    )  # fmt: skip
    item_columns: tuple[str, ...] = again(DataConfig, "item_columns", (), panel=_AS_TRAINED)
    encoding: str | None = again(DataConfig, "encoding", panel=_AS_TRAINED)
    separator: str | None = again(DataConfig, "separator", panel=_AS_TRAINED)
    quote: Quote | None = again(DataConfig, "quote", panel=_AS_TRAINED)
    on_bad_rows: OnFault | None = again(DataConfig, "on_bad_rows", panel=_AS_TRAINED)
    on_items_without_text: OnItem | None = again(
        DataConfig, "on_items_without_text", panel=_AS_TRAINED
    )

    def over(self, config: DataConfig) -> DataConfig:
        """The training's configuration, with what is given here.

        Raises
        ------
        ConfigError
            Values that make no sense.
        """
        given = {name: value for name, value in vars(self).items() if value}
        key = self.columns.item_key or self.columns.item or config.columns.item_key
        return replace(config, **{**given, "columns": replace(config.columns, item_key=key)})


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
