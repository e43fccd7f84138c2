"""Time and memory of reading a log of made events, beside other copies of this project.

Each repetition runs ``python -m builder data describe`` once in each copy, in a process of its own,
so that whatever else the machine does hits all alike.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import typer

from builder.options import command
from perf.errors import PerfError
from perf.machine import describe_machine
from perf.measured_command import run_command
from perf.options import Json, note, scratch_directory

ITEMS: Final = 50_000
_EVENTS_PER_USER: Final = 100
_CHUNK: Final = 1_000_000
_HERE: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Reading:
    """One run of a command: seconds, seconds of CPU, and the most memory it held, in MiB."""

    copy: str
    work: str
    wall: float
    cpu: float
    memory: float


@command
def reading(
    *,
    events: Annotated[int, typer.Option(help="Events of the log.", min=1)] = 20_000_000,
    other: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="One more copy of this project. Repeatable."),
    ] = None,
    repetitions: Annotated[int, typer.Option(help="Runs of each.", min=1)] = 3,
    convert: Annotated[
        bool, typer.Option("--convert", help="Measure `data convert` too, of this copy alone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure how long `data describe` takes on a CSV of many events, and how much memory.

    Example: python -m perf reading --events 20000000 --other before=../before
    """
    copies = {"this": _HERE}
    for text in other or ():
        name, equals, path = text.partition("=")
        if not equals or not (Path(path) / "builder").is_dir():
            raise PerfError(f"--other {text!r}: write NAME=DIR, with a copy of this project")
        copies[name] = Path(path).resolve()
    with scratch_directory() as scratch:
        data = scratch / "data"
        note(f"making a log of {events:,} events")
        make_random_log(data, events)
        readings = []
        for repetition in range(repetitions):
            readings += [
                _run(name, path, ["describe", str(data), "--json"]) for name, path in copies.items()
            ]
            if convert:
                output = scratch / f"converted-{repetition}"
                readings.append(
                    _run("this", _HERE, ["convert", str(data), "--output", str(output)])
                )
        size = (data / "interactions.csv").stat().st_size
    if as_json:
        report = {
            "machine": describe_machine(),
            "events": events,
            "bytes": size,
            "readings": [asdict(each) for each in readings],
        }
        typer.echo(json.dumps(report))
        return
    typer.echo(f"{events:,} events, {size / 2**20:,.0f} MiB of CSV, median of {repetitions}")
    for key in dict.fromkeys((each.copy, each.work) for each in readings):
        found = [each for each in readings if (each.copy, each.work) == key]
        wall, cpu = median(each.wall for each in found), median(each.cpu for each in found)
        typer.echo(
            f"{key[0]:>10} {key[1]:<8} {wall:7.1f} s, {wall * 1e6 / events:.2f} s a million, "
            f"{cpu:7.1f} s of CPU, at most {max(each.memory for each in found):,.0f} MiB"
        )


def make_random_log(directory: Path, events: int) -> None:
    """Write ``interactions.csv``, in order of time, and ``items.csv``."""
    directory.mkdir()
    random = np.random.default_rng(0)
    titles = [f"A made item of number {number}" for number in range(ITEMS)]
    items = pa.table({"item_id": pa.array(range(ITEMS)), "title": titles})
    pyarrow.csv.write_csv(items, directory / "items.csv")
    users = max(events // _EVENTS_PER_USER, 1)
    names = ("user_id", "item_id", "rating", "timestamp")
    types = (pa.int64(), pa.int64(), pa.float64(), pa.int64())
    schema = pa.schema(list(zip(names, types, strict=True)))
    with pyarrow.csv.CSVWriter(directory / "interactions.csv", schema) as writer:
        for start in range(0, events, _CHUNK):
            count = min(_CHUNK, events - start)
            columns = [
                random.integers(0, users, count),
                (ITEMS * random.random(count) ** 3).astype(np.int64),  # some are popular
                random.integers(1, 11, count) / 2,
                1_500_000_000 + np.arange(start, start + count),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _run(name: str, copy: Path, arguments: list[str]) -> Reading:
    note(f"{name}: data {arguments[0]}")
    used = run_command(["builder", "data", *arguments], copy)
    return Reading(name, arguments[0], used.wall, used.cpu, used.memory)
