"""``python -m perf overload``: what a server answers that is asked for more than it can do."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import typer

from builder.options import Given, command, option
from builder.repository import DEFAULT_REPOSITORY, from_text, to_text
from builder.serving import TritonServer
from model_repository.core.contract import MAX_WAIT, RECOMMEND
from perf.load import infer_request
from perf.machine import describe_machine
from perf.options import Json, note, scratch_directory
from perf.processes import server_processes
from perf.storm import Arrivals, Outcome, answers, storm, with_parameters
from perf.synthetic import write_repository

WITHOUT: Final = "without a limit"
WITH: Final = "with a limit"
_CALLERS: Final = 32  # of the load that a server can answer
_STORM: Final = 3200
_STORM_DEADLINE: Final = 0.1
_DEADLINE: Final = 1.0  # the client's default
_PATIENT: Final = 60.0
_EVENTS: Final = 20
_REQUESTS: Final = 500
_START: Final = 300.0
_HEADING: Final = (
    "| load | server | good/s | refused/s | too late/s | p50 ms | p99 ms | cores: model | triton "
    "| load | next request |"
)


@dataclass(frozen=True)
class OverloadOptions:
    """What is served, and how long each load lasts."""

    repository: Path = option(DEFAULT_REPOSITORY, "Exported repository, in the fused layout.")
    items: int = option(
        150_000,
        "Items of the catalogue that is made of it: so many that the server has more to do for a "
        "request than the load generator.",
        at_least=1,
    )
    seconds: float = option(5.0, "Length of each load.", above=0)
    seed: int = option(0, "Seed of the catalogue and of the histories.")


@dataclass(frozen=True)
class Row:
    """What came of one load; ``after`` is whether the next request was answered."""

    load: str
    server: str
    outcome: Outcome
    stub: float
    triton: float
    after: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "load": self.load,
            "server": self.server,
            "ends": self.outcome.ends,
            "p50": self.outcome.percentile(50),
            "p99": self.outcome.percentile(99),
            "cores": {"model": self.stub, "triton": self.triton, "load": self.outcome.cpu},
            "next request answered": self.after,
        }


@command
def overload(*, given: Given[OverloadOptions], as_json: Json = False) -> None:
    """Ask a server for more than it can do, with and without the limit of `export --max-wait`.

    Two servers take turns under each load: what 32 callers get, whose best is the maximum; 80 % of
    the maximum; three times the maximum; the same, of which 60 % of the maximum are requests of
    users and the rest background work; and 3,200 callers with deadlines of 100 ms.
    Load generator and server share the machine: the cores that each took are in the table.

    Example: python -m perf overload --repository repository
    """
    options = given.make()
    with scratch_directory() as scratch, ExitStack() as stack:
        note(f"making {options.items:,} items")
        write_repository(options.repository, scratch / WITH, options.items, options.seed)
        shutil.copytree(scratch / WITH, scratch / WITHOUT, symlinks=True)
        _take_limit_off(scratch / WITHOUT)
        pool = stack.enter_context(
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        )
        servers = {
            name: stack.enter_context(TritonServer(scratch / name, start_timeout=_START))
            for name in (WITHOUT, WITH)
        }
        rows = list(_measure(servers, pool, options))
    if as_json:
        content = {"machine": describe_machine(), "rows": [row.to_dict() for row in rows]}
        typer.echo(json.dumps(content, indent=1))
    else:
        typer.echo(table(rows))


def _measure(
    servers: dict[str, TritonServer], pool: ProcessPoolExecutor, options: OverloadOptions
) -> Iterator[Row]:
    requests = _requests(options)

    def arrivals(deadline: float, *, background: bool = False, **load: float) -> Arrivals:
        sent = [with_parameters(each, deadline, background=background) for each in requests]
        return Arrivals(sent, deadline, **load)  # type: ignore[arg-type]

    def turns(name: str, kinds: dict[str, Arrivals]) -> Iterator[Row]:
        for which, server in servers.items():
            note(f"{name}, {which}")
            cores = _cores(server)
            found = pool.submit(
                storm, server.grpc_address, list(kinds.values()), options.seconds
            ).result()
            used = {key: now - cores.get(key, 0.0) for key, now in _cores(server).items()}
            after = answers(server.grpc_address, requests[0])
            for kind, outcome in zip(kinds, found, strict=True):
                yield Row(
                    f"{name}{kind}", which, outcome,
                    used.get("model", 0) / options.seconds,
                    used.get("triton", 0) / options.seconds, after,
                )  # fmt: skip
            if not after:
                note("  the server has ended; starting it again")
                server.kill()
                server.start()

    usual = list(turns(f"{_CALLERS} callers", {"": arrivals(_PATIENT, callers=_CALLERS)}))
    yield from usual
    most = max(row.outcome.good for row in usual)
    yield from turns("80 %", {"": arrivals(_DEADLINE, rate=0.8 * most)})
    yield from turns("300 %", {"": arrivals(_DEADLINE, rate=3 * most)})
    mixed = {
        ": users": arrivals(_DEADLINE, rate=0.6 * most),
        ": background": arrivals(_DEADLINE, background=True, rate=2.4 * most),
    }
    yield from turns("60 % + 240 %", mixed)
    storming = arrivals(_STORM_DEADLINE, callers=_STORM)
    yield from turns(f"{_STORM:,} callers, {_STORM_DEADLINE * 1e3:.0f} ms", {"": storming})
    yield from turns(f"{_CALLERS} callers after it", {"": arrivals(_PATIENT, callers=_CALLERS)})


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [_HEADING, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"]
    for row in rows:
        ends = row.outcome.ends
        p50, p99 = (row.outcome.percentile(each) for each in (50, 99))
        late = sum(ends.values()) - row.outcome.good - ends.get("ALREADY_EXISTS", 0)
        lines.append(
            f"| {row.load} | {row.server} | {row.outcome.good:,.0f} "
            f"| {ends.get('ALREADY_EXISTS', 0):,.0f} | {late:,.0f} | {_shown(p50)} | {_shown(p99)} "
            f"| {row.stub:.2f} | {row.triton:.2f} | {row.outcome.cpu:.2f} "
            f"| {'answered' if row.after else 'not answered'} |"
        )
    return "\n".join(lines)


def _shown(milliseconds: float | None) -> str:
    return "–" if milliseconds is None else f"{milliseconds:.0f}"


def _requests(options: OverloadOptions) -> list[bytes]:
    draw = np.random.default_rng(options.seed)
    histories = draw.integers(0, options.items, (_REQUESTS, _EVENTS)).astype(str).tolist()
    return [infer_request(RECOMMEND.name, {"HISTORY": history}) for history in histories]


def _take_limit_off(repository: Path) -> None:
    for file in repository.glob("*/config.pbtxt"):
        config = from_text(file.read_text("utf-8"), str(file))
        config.parameters.pop(MAX_WAIT, None)
        file.write_text(to_text(config), "utf-8")


def _cores(server: TritonServer) -> dict[str, float]:
    """Processor time in seconds of the server's Python models, and of Triton itself."""
    spent = {"model": 0.0, "triton": 0.0}
    for process in server_processes(server.identity):
        stub = "triton_python_backend_stub" in process.info["cmdline"][0]
        times = process.info["cpu_times"]
        spent["model" if stub else "triton"] += times.user + times.system
    return spent
