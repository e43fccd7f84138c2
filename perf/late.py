"""``python -m perf late``: how often calls that pass their deadlines end the embedded server."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from builder.options import command
from builder.repository import DEFAULT_REPOSITORY
from builder.serving import TritonServer, find_tritonserver
from model_repository.core.contract import RECOMMEND
from perf.load import infer_request
from perf.machine import describe_machine
from perf.options import Json, note, numbers
from perf.storm import Arrivals, answers, storm

_SLICE: Final = 3.0  # seconds
_LATE: Final = "DEADLINE_EXCEEDED"


@dataclass(frozen=True)
class Row:
    """What came of the calls to a server, how often it ended, and seconds that it took to stop."""

    server: str
    deadline: float
    calls: int
    late: int
    ends: int
    stop: float


@command
def late(
    *,
    repository: Annotated[Path, typer.Option(help="Exported repository.")] = DEFAULT_REPOSITORY,
    callers: Annotated[int, typer.Option(help="Callers of a closed loop.", min=1)] = 8,
    deadlines: Annotated[
        str, typer.Option(metavar="MS,MS", help="Milliseconds that callers wait.")
    ] = "4,10",
    seconds: Annotated[float, typer.Option(help="Length for each server.", min=_SLICE)] = 60.0,
    as_json: Json = False,
) -> None:
    """Load `recommend` with callers of short deadlines, and count how often the server ends.

    Once with the tritonserver of the wheel as it is, once with the copy that `serve` starts. A
    server that ended is started anew. At the end it is asked to stop.

    Example: python -m perf late --repository repository
    """
    waits = [each / 1e3 for each in numbers("--deadlines", deadlines)]
    rows = list(_measure(repository, callers, waits, seconds))
    content = {"machine": describe_machine(), "rows": [asdict(row) for row in rows]}
    typer.echo(json.dumps(content, indent=1) if as_json else table(rows))


def _measure(
    repository: Path, callers: int, waits: Sequence[float], seconds: float
) -> Iterator[Row]:
    installation = find_tritonserver()
    request = infer_request(RECOMMEND.name, {"HISTORY": []})
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for wait in waits:
            for name, mends in (("of the wheel", False), ("of serve", True)):
                note(f"{wait * 1e3:g} ms, tritonserver {name}")
                arrivals = Arrivals([request], wait, callers=callers)
                with TritonServer(
                    repository, installation=replace(installation, mends=mends)
                ) as server:
                    found, ends = _loaded(server, pool, arrivals, seconds)
                    began = time.perf_counter()
                    server.stop()
                    took = time.perf_counter() - began
                yield Row(name, wait, found.total(), found[_LATE], ends, took)


def _loaded(
    server: TritonServer, pool: ProcessPoolExecutor, arrivals: Arrivals, seconds: float
) -> tuple[Counter[str], int]:
    """How many calls ended with each status, and how often the server ended."""
    found: Counter[str] = Counter()
    ends = 0
    for _ in range(round(seconds / _SLICE)):
        (came,) = pool.submit(storm, server.grpc_address, [arrivals], _SLICE).result()
        found.update(came.numbers)
        if not answers(server.grpc_address, arrivals.requests[0]):
            ends += 1
            server.kill()
            server.start()
    return found, ends


def table(rows: Sequence[Row]) -> str:
    """A table in Markdown."""
    lines = [
        "| callers wait, ms | tritonserver | calls | too late | it ended | seconds to stop |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.deadline * 1e3:g} | {row.server} | {row.calls:,} | {row.late:,} | {row.ends} "
        f"| {row.stop:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)
