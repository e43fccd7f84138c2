"""``python -m perf large-training``: the time and the memory that a large log takes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import typer

from builder.data.samples import fetch_minilm
from builder.options import command
from perf.machine import describe_machine
from perf.measured_command import HERE, run_command
from perf.options import Json, note, scratch_directory

_GROUPS: Final = 50
"""Of items, as genres are; each user has a taste for four of them."""
_TASTE: Final = (0.5, 0.3, 0.15, 0.05)
_FEWEST: Final = 5  # events of a user
_WORDS: Final = 30  # of a group
_DAY: Final = 24 * 3600
_LINE: Final = re.compile(r"(\d\d):(\d\d):(\d\d) \w+ +(.*)")
_READ: Final = "read the log, encode the texts"
_CHOOSE: Final = "choose what stands beside the network, test"
_AGAIN: Final = "second training"
_STAGES: Final = {"stage 1": "first stage", "stage 2": "second stage", "training again": _AGAIN}
_CHOSEN: Final = ("linear term", "trend", "validation NDCG")
_COMMON: Final = ("red", "blue", "old", "new", "small", "large", "quiet", "fast", "dark", "light")


@command
def large_training(
    *,
    events: Annotated[int, typer.Option(help="Events of the log.", min=1)] = 1_000_000,
    items: Annotated[int, typer.Option(help="Items of the catalogue.", min=_GROUPS)] = 50_000,
    users: Annotated[int, typer.Option(help="Users of the log.", min=1)] = 20_000,
    backbone: Annotated[
        str | None, typer.Option(help="As of `builder train`. Default: MiniLM, fetched.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION", help="Of `builder train`, as --budget=30. Repeatable."),
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Keep the log of the training here.")] = None,
    as_json: Json = False,
) -> None:
    """Make a log with tastes and titles, train on it with the defaults, and measure what that took.

    Vectors of texts are not taken from an earlier training. The quality of a made log says nothing.

    Example: python -m perf large-training --log training.log
    """
    with scratch_directory() as scratch:
        data, run = scratch / "data", scratch / "run"
        note(f"making a log of {events:,} events")
        make_log(data, events=events, items=items, users=users)
        note("training")
        backbone = backbone or str(fetch_minilm(HERE / ".data/minilm"))
        log = log or scratch / "training.log"
        arguments = ["builder", "train", f"--data={data}", f"--output={run}"]
        arguments += [f"--backbone={backbone}", *(option or ())]
        usage = run_command(
            arguments,
            log=log,
            environment={"XDG_CACHE_HOME": str(scratch)},  # where vectors of texts are kept
        )
        took = phases(log.read_text("utf-8"), usage.wall)
    if as_json:
        measured = {"events": events, **asdict(usage), "phases": took}
        typer.echo(json.dumps({"machine": describe_machine(), **measured}))
        return
    typer.echo(
        f"{events:,} events of {users:,} users, {items:,} items: {usage.wall / 60:.1f} minutes, "
        f"{usage.cpu / 60:.1f} CPU minutes, at most {usage.memory:,.0f} MiB"
    )
    for phase, seconds in took.items():
        typer.echo(f"{seconds / 60:5.1f} {phase}")


def phases(log: str, wall: float) -> dict[str, float]:
    """Seconds of each phase of a training that took ``wall``, by the times in its log.

    A line that tells what was chosen, or begins a stage, ends a choice; any other belongs to its
    stage.
    """
    found: dict[str, float] = {}
    stage, first, last = _READ, None, 0
    for match in filter(None, map(_LINE.match, log.splitlines())):
        hours, minutes, seconds = map(int, match.groups()[:3])
        moment, message = 3600 * hours + 60 * minutes + seconds, match[4]
        first = moment if first is None else first
        moment = (moment - first) % _DAY
        begun = [name for start, name in _STAGES.items() if message.startswith(start)]
        chosen = begun or message.startswith(_CHOSEN)
        phase = _CHOOSE if chosen and stage not in (_READ, _AGAIN) else stage
        found[phase] = found.get(phase, 0) + moment - last
        last = moment
        stage = begun[0] if begun and stage != _AGAIN else stage
    phase = stage if stage == _AGAIN else _CHOOSE
    found[phase] = found.get(phase, 0) + max(0.0, wall - sum(found.values()))
    return found


def make_log(directory: Path, *, events: int, items: int, users: int) -> None:
    """Write ``interactions.csv`` and ``items.csv`` of about so many events."""
    directory.mkdir()
    random = np.random.default_rng(0)
    group = random.integers(0, _GROUPS, items)
    group[:_GROUPS] = np.arange(_GROUPS)  # none is empty
    words = random.integers(0, _WORDS, (items, 3))
    common = random.choice(_COMMON, (items, 2))
    titles = [
        f"{first} {second} " + " ".join(f"w{of}x{word}" for word in own)
        for (first, second), of, own in zip(common, group, words, strict=True)
    ]
    table = pa.table({"item_id": pa.array(range(items)), "title": titles})
    pyarrow.csv.write_csv(table, directory / "items.csv")

    lengths = np.maximum(_FEWEST, random.lognormal(3.5, 0.9, users))
    lengths = np.maximum(_FEWEST, lengths / lengths.sum() * events).astype(int)
    user = np.repeat(np.arange(users), lengths)
    tastes = np.argsort(random.random((users, _GROUPS)), axis=1)[:, : len(_TASTE)]
    asked = tastes[user, random.choice(len(_TASTE), len(user), p=_TASTE)]
    popularity = 1 / random.permutation(np.arange(1, items + 1)) ** 0.8
    item = np.zeros(len(user), np.int64)
    for number in range(_GROUPS):
        own, places = np.flatnonzero(group == number), np.flatnonzero(asked == number)
        share = popularity[own] / popularity[own].sum()
        item[places] = random.choice(own, len(places), p=share)
    begins = random.integers(1_600_000_000, 1_630_000_000, users)
    waits = random.exponential(40_000, len(user)).cumsum()
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    time = (begins[user] + waits - waits[starts][user]).astype(np.int64)
    log = pa.table({"user_id": user, "item_id": item, "time": time})
    pyarrow.csv.write_csv(log, directory / "interactions.csv")
