"""``python -m perf observe``: when events are seen, and what they cost the lists beside them."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import typer

from builder.options import Given, command, option
from builder.repository import DEFAULT_REPOSITORY
from builder.serving import TritonServer
from client import RecommenderClient
from model_repository.core.contract import OBSERVE, RECOMMEND
from model_repository.core.trend import Trend
from perf.errors import PerfError
from perf.load import infer_request
from perf.machine import describe_machine
from perf.options import Json, note, scratch_directory
from perf.processes import model_processes
from perf.storm import Arrivals, storm
from perf.synthetic import write_repository

_CALLERS: Final = 32
_EVENTS: Final = 20
_REQUESTS: Final = 500
_POPULAR: Final = 50
"""Items that the events of the load are of; trials have others."""
_PATIENT: Final = 60.0
_START: Final = 300.0
_BATCH: Final = 20
_TRIAL: Final = 0.3
"""Seconds of load for each event that is waited for: enough on a busy machine."""


@dataclass(frozen=True)
class ObserveOptions:
    """What is served, and how long each load lasts."""

    repository: Path = option(DEFAULT_REPOSITORY, "Exported repository, in the fused layout.")
    items: int = option(150_000, "Items of the catalogue that is made of it.", at_least=2_000)
    rate: int = option(1_000, "Events a second.", at_least=_BATCH)
    seconds: float = option(5.0, "Length of each load.", above=0)
    rounds: int = option(3, "Rounds in which the loads take turns.", at_least=1)
    trials: int = option(100, "Events that are waited for, alone and under load.", at_least=1)
    seed: int = option(0, "Seed of the catalogue and of the load.")


@dataclass(frozen=True)
class Seen:
    """How long after an event was accepted the first list came that it had changed.

    Milliseconds; ``next`` is the share of events that changed the very next list.
    """

    load: str
    p50: float
    p99: float
    next: float


@dataclass(frozen=True)
class Beside:
    """What callers of ``recommend`` got beside events, as medians of the rounds.

    Attributes
    ----------
    rate
        Lists a second.
    p50
        Milliseconds that half of the lists took at the most.
    events
        Events a second that were accepted.
    cpu
        Microseconds of the processor that the process of ``recommend`` took for a list.
    observe
        The same of the process of ``observe`` for an event; 0 without events.
    """

    load: str
    rate: float
    p50: float
    events: float
    cpu: float
    observe: float


@command
def observe(*, given: Given[ObserveOptions], as_json: Json = False) -> None:
    """Tell a server of events, and see when lists change and what that takes from other requests.

    The catalogue is made of that of the repository, with a trend, and once more without one. The
    load generator has a process of its own and shares the machine.

    Example: python -m perf observe --repository repository
    """
    options = given.make()
    now = int(datetime.now(timezone.utc).timestamp())
    trend = Trend(3_600.0, 1_000.0, np.full(options.items, -np.inf), now - 60)
    with scratch_directory() as scratch:
        note(f"making {options.items:,} items")
        made, plain = scratch / "repository", scratch / "without"
        write_repository(options.repository, made, options.items, options.seed, trend=trend)
        write_repository(options.repository, plain, options.items, options.seed)
        with (
            TritonServer(made, events=scratch / "events", start_timeout=_START) as server,
            TritonServer(plain, start_timeout=_START) as without,
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        ):
            lists, events = _loads(options)
            alone = replace(lists, callers=1)
            loads = {
                f"{_CALLERS} callers, no events": [lists],
                **{f"{_CALLERS} callers, {name}": [lists, each] for name, each in events.items()},
            }
            turns = {
                "one caller, no trend": (without, [alone]),
                "one caller, no events": (server, [alone]),
                f"{_CALLERS} callers, no trend": (without, [lists]),
                **{name: (server, kinds) for name, kinds in loads.items()},
            }
            beside = list(_beside(turns, pool, options))
            seen = list(_seen(server, pool, loads, options))
    if as_json:
        rows = [*map(asdict, seen), *map(asdict, beside)]
        typer.echo(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1))
    else:
        typer.echo(table(seen, beside))


def _loads(options: ObserveOptions) -> tuple[Arrivals, dict[str, Arrivals]]:
    """Requests for lists, and events in two ways."""
    draw = np.random.default_rng(options.seed)
    histories = draw.integers(0, options.items, (_REQUESTS, _EVENTS)).astype(str).tolist()
    lists = Arrivals(
        [infer_request(RECOMMEND.name, {"HISTORY": history}) for history in histories],
        _PATIENT,
        callers=_CALLERS,
    )

    def events(together: int) -> Arrivals:
        items = draw.integers(0, _POPULAR, (_REQUESTS, together)).astype(str).tolist()
        sent = [infer_request(OBSERVE.name, {"ITEM": each}) for each in items]
        return Arrivals(sent, _PATIENT, rate=options.rate / together)

    return lists, {
        f"{options.rate:,} events/s, one a request": events(1),
        f"{options.rate:,} events/s, {_BATCH} a request": events(_BATCH),
    }


def _beside(
    turns: Mapping[str, tuple[TritonServer, list[Arrivals]]],
    pool: ProcessPoolExecutor,
    options: ObserveOptions,
) -> Iterator[Beside]:
    found: dict[str, list[Beside]] = {name: [] for name in turns}
    for number in range(options.rounds):
        for name, (server, kinds) in turns.items():
            note(f"round {number + 1}, {name}")
            before = _cpu(server)
            outcomes = pool.submit(storm, server.grpc_address, kinds, options.seconds).result()
            spent = {key: now - before[key] for key, now in _cpu(server).items()}
            rate = outcomes[0].good
            together = _BATCH if name.endswith(f"{_BATCH} a request") else 1
            events = sum(each.good for each in outcomes[1:]) * together
            found[name].append(
                Beside(
                    name,
                    rate,
                    outcomes[0].percentile(50) or 0.0,
                    events,
                    spent[RECOMMEND.name] / (rate * options.seconds) * 1e6,
                    spent[OBSERVE.name] / (events * options.seconds) * 1e6 if events else 0.0,
                )
            )
    for name, rounds in found.items():
        figures = [asdict(each) for each in rounds]
        medians = {
            each: statistics.median(row[each] for row in figures)
            for each in ("rate", "p50", "events", "cpu", "observe")
        }
        yield Beside(name, **medians)


def _seen(
    server: TritonServer,
    pool: ProcessPoolExecutor,
    loads: dict[str, list[Arrivals]],
    options: ObserveOptions,
) -> Iterator[Seen]:
    new = iter(range(_POPULAR, options.items))
    old = list(range(_POPULAR))

    def wait(client: RecommenderClient, load: str) -> Seen:
        tried = list(islice(new, options.trials))
        found = _wait(client, tried, old, load)
        old.extend(tried)
        return found

    with RecommenderClient(server.grpc_address, timeout=_PATIENT) as client:
        yield wait(client, "no other requests")
        for name, kinds in loads.items():
            length = options.trials * _TRIAL + 1
            running = pool.submit(storm, server.grpc_address, kinds, length)
            time.sleep(1)
            yield wait(client, name)
            running.result()


def _wait(client: RecommenderClient, tried: Sequence[int], old: Sequence[int], load: str) -> Seen:
    """Have an event of each item ``tried``, and ask for lists without the ``old`` ones."""
    note(f"events that are waited for: {load}")
    left_out = [str(item) for item in old]
    waits, first = [], 0
    for item in map(str, tried):
        client.observe([item])
        accepted = time.perf_counter()
        asked = 0
        found: tuple[str, ...] = ()
        while found != (item,):
            if time.perf_counter() - accepted > _PATIENT:
                raise PerfError(f"an event of {item} is in no list; is this server the only one?")
            found = client.recommend([], top_k=1, exclude=left_out).ids
            asked += 1
        waits.append(time.perf_counter() - accepted)
        first += asked == 1
        left_out.append(item)
    p50, p99 = (float(each) * 1e3 for each in np.percentile(waits, (50, 99)))
    return Seen(load, p50, p99, first / len(waits))


def _cpu(server: TritonServer) -> dict[str, float]:
    """Processor time in seconds of each model's process."""
    return {
        name: process.info["cpu_times"].user + process.info["cpu_times"].system
        for process, name in model_processes(server)
    }


def table(seen: Sequence[Seen], beside: Sequence[Beside]) -> str:
    """Two tables in Markdown."""
    lines = [
        "| other load | accepted → in a list, p50 ms | p99 ms | in the next list |",
        "|---|---:|---:|---:|",
        *(f"| {row.load} | {row.p50:.1f} | {row.p99:.1f} | {row.next:.0%} |" for row in seen),
        "",
        "| load | lists/s | p50 ms | events/s | µs of CPU a list | µs of CPU an event |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {row.load} | {row.rate:,.0f} | {row.p50:.2f} | {row.events:,.0f} "
            f"| {row.cpu:,.0f} | {row.observe:.0f} |"
            for row in beside
        ),
    ]
    return "\n".join(lines)
