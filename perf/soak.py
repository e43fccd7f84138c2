"""``python -m perf soak``: mixed load at saturation, and whether the server's memory grows."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer

from builder.options import Given, command
from builder.serving import TritonServer
from perf.analyze import entries
from perf.load import closed_loop, infer_request, triton_infer
from perf.options import Json, ServerOptions, note
from perf.processes import server_processes
from perf.workload import read_workload

_WARM_UP = 0.2  # of the time
_CLIENTS = 16
_GROWTH = 0.02  # of the memory after the warm-up, over the rest of the run


@dataclass(frozen=True, slots=True)
class Sample:
    """MiB: private memory of all the server's processes, and what of /dev/shm is the server's."""

    seconds: float
    memory: float
    shared: float


@command
def soak(
    *,
    server_options: Given[ServerOptions],
    minutes: Annotated[float, typer.Option(help="Length of the load.")] = 10.0,
    as_json: Json = False,
) -> None:
    """Send mixed load at saturation, and see whether the server's memory grows.

    Serves the repository and sends recommend, rank and encode from 16 clients, no text twice. After
    a warm-up of a fifth of the time, a line is fitted to the memory of the server's processes and
    to its shared memory. Exit code 1 when one grows by more than 2 % over the rest.

    Example: python -m perf soak --minutes 10
    """
    options = server_options.make()
    workload = read_workload(options.checkpoint, options.seed)
    requests = [
        infer_request(model, entry, batched=model == "encode")
        for several in zip(
            entries("recommend", workload), entries("rank", workload),
            entries("encode", workload), strict=False,
        )
        for model, entry in zip(("recommend", "rank", "encode"), several, strict=True)
    ]  # fmt: skip
    seconds = minutes * 60
    samples: list[Sample] = []
    over = threading.Event()
    with TritonServer(options.repository) as server:
        watcher = threading.Thread(target=_watch, args=(server, samples, over))
        watcher.start()
        try:
            note(f"{_CLIENTS} clients for {minutes:g} minutes")
            connect = triton_infer(server.grpc_address, requests)
            measured = closed_loop(connect, _CLIENTS, seconds)
        finally:
            over.set()
            watcher.join()
    after = [sample for sample in samples if sample.seconds > _WARM_UP * seconds]
    growth = {name: growth_of(after, name) for name in ("memory", "shared")}
    if as_json:
        report = {
            "requests": measured.requests,
            "rate": measured.rate,
            "growth": growth,
            "samples": [asdict(sample) for sample in samples],
        }
        typer.echo(json.dumps(report, indent=1))
    else:
        typer.echo(
            f"{measured.requests:,} requests, {measured.rate:,.0f}/s; after the warm-up "
            f"{after[0].memory:.0f} MiB of memory, growth {growth['memory']:+.2%}, and "
            f"{after[0].shared:.0f} MiB shared, growth {growth['shared']:+.2%}"
        )
    raise typer.Exit(int(max(growth.values()) > _GROWTH))


def growth_of(samples: list[Sample], name: str) -> float:
    """By how much a fitted line rises from the first sample to the last, relative to the first."""
    times = np.array([sample.seconds for sample in samples])
    values = np.array([getattr(sample, name) for sample in samples])
    slope, start = np.polyfit(times - times[0], values, 1)
    return float(slope * (times[-1] - times[0]) / start) if start else 0.0


def _watch(server: TritonServer, samples: list[Sample], over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(1.0):
        samples.append(Sample(time.monotonic() - began, _private(server), _shared(server.identity)))


def _private(server: TritonServer) -> float:
    total = 0
    for process in server_processes(server.identity):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().uss
    return total / 2**20


def _shared(identity: str) -> float:
    files = Path("/dev/shm").glob(f"{identity}-*")
    return sum(file.stat().st_blocks * 512 for file in files) / 2**20
