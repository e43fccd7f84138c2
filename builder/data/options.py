"""The command line options that say where the data is and how to read it.

Every command that reads data declares these parameters and hands them to ``data_config``::

    def command(
        data: Annotated[Path, typer.Option("--data")],
        data_format: DataFormat = "auto",
        column: ColumnMap = None,
        ...
    ) -> None:
        config = data_config(data, data_format=data_format, column=column, ...)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from builder.data.config import CONTEXT, FORMATS, Columns, DataConfig
from builder.data.request_time import REQUEST_TIME
from builder.errors import ConfigError

_ROLES = tuple(field.name for field in fields(Columns))
_PANEL = "Data"

DataFormat = Annotated[
    str,
    typer.Option("--format", help=f"One of: {', '.join(FORMATS)}.", rich_help_panel=_PANEL),
]
InteractionsFile = Annotated[
    str | None,
    typer.Option(
        "--interactions",
        metavar="FILE",
        help="The log, inside the directory. Default: the format's usual name.",
        rich_help_panel=_PANEL,
    ),
]
ItemsFile = Annotated[
    str | None,
    typer.Option(
        "--items",
        metavar="FILE",
        help="The item file, inside the directory. Default: the format's usual name.",
        rich_help_panel=_PANEL,
    ),
]
UsersFile = Annotated[
    str | None,
    typer.Option(
        "--users",
        metavar="FILE",
        help="The user file, read for --profile, else only checked. Default: the format's usual "
        "name.",
        rich_help_panel=_PANEL,
    ),
]
ColumnMap = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="ROLE=NAME",
        help=f"Name a column, as in time=created_at. Roles: {', '.join(_ROLES)}. Repeatable.",
        rich_help_panel=_PANEL,
    ),
]
TextTemplate = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="TEMPLATE",
        help="An item's text from its columns, as in '{title} ({year}) {genres}'.",
        rich_help_panel=_PANEL,
    ),
]
ProfileColumns = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="COLUMN,COLUMN",
        help="Columns of the user file that the model is to know of a user, as in age,gender.",
        rich_help_panel=_PANEL,
    ),
]
ItemProfileColumns = Annotated[
    str | None,
    typer.Option(
        "--item-profile",
        metavar="COLUMN,COLUMN",
        help="Columns of the item file that the model is to know of an item beside its text, as in "
        "brand,price.",
        rich_help_panel=_PANEL,
    ),
]
ItemVectors = Annotated[
    str | None,
    typer.Option(
        "--item-vectors",
        metavar="COLUMN,COLUMN",
        help="Columns of the item file with a vector of another modality, such as an image's: "
        "lists of numbers, as long for every item that has one.",
        rich_help_panel=_PANEL,
    ),
]
RequestTime = Annotated[
    str | None,
    typer.Option(
        "--request-time",
        metavar="COLUMN,COLUMN",
        help=f"What the model is to know of when a request is made: {', '.join(REQUEST_TIME)}. "
        "Needs a log with times.",
        rich_help_panel=_PANEL,
    ),
]
TimeZone = Annotated[
    str,
    typer.Option(
        "--time-zone",
        metavar="ZONE",
        help="By whose clock, for --request-time, as in Europe/Berlin.",
        rich_help_panel=_PANEL,
    ),
]
MinRating = Annotated[
    float | None,
    typer.Option(
        help="Recommend what will be rated this or higher; see --context for the other events.",
        rich_help_panel=_PANEL,
    ),
]
TargetActions = Annotated[
    str | None,
    typer.Option(
        "--target-actions",
        metavar="ACTION,ACTION",
        help="Recommend what will lead to one of these actions, as in purchase; see --context for "
        "the other events.",
        rich_help_panel=_PANEL,
    ),
]
Context = Annotated[
    str,
    typer.Option(
        metavar="|".join(CONTEXT),
        help="What becomes of events with lower ratings or other actions: keep them in the "
        "histories, as things that the user has met, or drop them.",
        rich_help_panel=_PANEL,
    ),
]
MinEvents = Annotated[
    int,
    typer.Option(
        help="Keep only users with at least this many events of the kind that is recommended.",
        min=1,
        rich_help_panel=_PANEL,
    ),
]


def data_config(
    directory: Path,
    *,
    data_format: str = "auto",
    interactions: str | None = None,
    items: str | None = None,
    users: str | None = None,
    column: Sequence[str] | None = None,
    text: str | None = None,
    min_rating: float | None = None,
    target_actions: str | None = None,
    context: str = "keep",
    min_events: int = 1,
    profile: str | None = None,
    item_profile: str | None = None,
    item_vectors: str | None = None,
    request_time: str | None = None,
    time_zone: str = "UTC",
) -> DataConfig:
    """Turn the options into a configuration, with an absolute directory.

    Raises
    ------
    ConfigError
        A mapping that is not ``ROLE=NAME`` or gives a role twice, or a value that makes no sense.
    """
    mapping: dict[str, str] = {}
    problems = []
    for entry in column or ():
        role, equals, name = entry.partition("=")
        if not equals or not name or role not in _ROLES:
            problems.append(
                f"--column {entry!r}: write ROLE=NAME with a role of {', '.join(_ROLES)}"
            )
        elif role in mapping:
            problems.append(f"--column {entry!r}: {role} is given twice; keep one")
        mapping[role] = name
    if problems:
        raise ConfigError("\n".join(problems))
    return DataConfig(
        directory=directory.absolute(),
        format=data_format,
        interactions=interactions,
        items=items,
        users=users,
        columns=Columns(**mapping),
        text=text,
        min_rating=min_rating,
        target_actions=_names(target_actions),
        context=context,
        min_events=min_events,
        profile=_names(profile),
        item_profile=_names(item_profile),
        item_vectors=_names(item_vectors),
        request_time=_names(request_time),
        time_zone=time_zone,
    )


def _names(columns: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in columns.split(",")) if columns else ()
