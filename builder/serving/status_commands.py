"""``python -m builder status``."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from builder.console import output
from builder.errors import ServingError
from builder.options import command
from builder.serving.live_figures import LiveFigures, ModelFigures, Page, figures, read_page

_EVERY: Final = 1.0  # seconds
_COLUMNS: Final = (
    "req /s", "failed /s", "refused /s", "queued", "mean ms", "queue ms", "p50 ms", "p99 ms",
)  # fmt: skip


@command
def status(
    metrics: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Metrics port of a tritonserver.")
    ] = "127.0.0.1:8002",
    health: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Health port of `serve`, if there is one.")
    ] = "127.0.0.1:8003",
    *,
    live: Annotated[bool, typer.Option(help="Look each second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one look as JSON.")] = False,
) -> None:
    """Show what a running server does: requests, failures and times of each model.

    Takes a second to see the rates.

    Example: python -m builder status --live
    """
    before = read_page(metrics)
    time.sleep(_EVERY)
    after = read_page(metrics)
    found = figures(before, after, _health(health))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    console = output()
    if not live:
        console.print(_shown(found))
        return
    with contextlib.suppress(KeyboardInterrupt), Live(_shown(found), console=console) as shown:
        while True:
            time.sleep(_EVERY)
            try:
                before, after = after, read_page(metrics)
            except ServingError as error:  # it may be started anew
                shown.update(Group(_shown(found), Text(str(error), "red")), refresh=True)
            else:
                found = figures(before, after, _health(health))
                shown.update(_shown(found), refresh=True)


def _health(address: str) -> Page | None:
    try:
        return read_page(address)
    except ServingError:
        return None


def _shown(found: LiveFigures) -> Group:
    # So that 80 characters do.
    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in ("model", "ver", "up"):
        table.add_column(column, no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for each in found.models:
        table.add_row(*_row(each), style="red" if each.ready is False else None)
    restarts = "not known: no `serve` answers" if found.restarts is None else str(found.restarts)
    lines = [Text(f"restarts {restarts}")]
    if broken := [each.model for each in found.models if each.broken_rules]:
        lines.append(
            Text(
                f"{', '.join(broken)}: a file of the rules directory is broken, so the last good "
                "rules are kept; the server's log says which file",
                "red",
            )
        )
    return Group(table, *lines)


def _row(each: ModelFigures) -> list[str]:
    ready = {True: "yes", False: "no", None: "?"}[each.ready]
    rates = (each.requests, each.failed, each.refused)
    times = (each.mean_ms, each.queue_ms, each.p50_ms, each.p99_ms)
    return [
        each.model,
        each.version,
        ready,
        *(f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}" for rate in rates),
        "-" if each.waiting is None else str(each.waiting),
        *("-" if value is None else f"{value:.2f}" for value in times),
    ]
