"""``python -m perf cancelled``: what it costs a model to ask whether a caller has left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Final

import grpc
import numpy as np
import typer
from tritonclient.grpc import service_pb2

from builder.options import command
from builder.serving import TritonServer
from perf.load import INFER, infer_request
from perf.options import Json, note, scratch_directory
from perf.storm import Arrivals, storm, with_parameters

_MODEL: Final = """\
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.figures = np.zeros(4)

    def execute(self, requests):
        wall, cpu = time.perf_counter(), time.process_time()
        gone = sum([request.is_cancelled() for request in requests])
        spent = time.perf_counter() - wall, time.process_time() - cpu
        self.figures += [len(requests), gone, *spent]
        time.sleep({work})
        figures = pb_utils.Tensor("FIGURES", self.figures[None])
        return [pb_utils.InferenceResponse([figures]) for _ in requests]
"""
_CONFIG: Final = """\
name: "asks"
backend: "python"
max_batch_size: {batch}
input {{ name: "HISTORY" data_type: TYPE_STRING dims: [-1] allow_ragged_batch: true }}
output {{ name: "FIGURES" data_type: TYPE_FP64 dims: [4] }}
instance_group {{ count: 1 kind: KIND_CPU }}
dynamic_batching {{ }}
"""
_PATIENT: Final = 60.0


@dataclass(frozen=True)
class Load:
    """Callers, how long each waits, and the seconds that the model works on a batch."""

    batch: int
    callers: int
    deadline: float
    work: float


@dataclass(frozen=True)
class Row:
    """How many requests reached a model, of how many the caller had left, and what it cost to ask.

    ``wall`` and ``cpu`` are microseconds for one request.
    """

    load: Load
    reached: int
    gone: int
    wall: float
    cpu: float


LOADS: Final = (
    Load(1, 1, _PATIENT, 0),
    Load(16, 32, _PATIENT, 0),
    Load(64, 128, _PATIENT, 0),
    Load(16, 64, 0.05, 0.02),
)


@command
def cancelled(
    seconds: Annotated[float, typer.Option(help="Length of each load.", min=0.1)] = 5.0,
    *,
    as_json: Json = False,
) -> None:
    """Ask of each request whether its caller has left, and see what that costs.

    The model does nothing else, but for the last load: there it works 20 ms on each batch, while
    callers wait for 50 ms, less than the queue is long. Server and callers share the machine.

    Example: python -m perf cancelled
    """
    rows = [_measure(load, seconds) for load in LOADS]
    typer.echo(json.dumps([asdict(row) for row in rows], indent=1) if as_json else table(rows))


def _measure(load: Load, seconds: float) -> Row:
    note(f"{load.callers} callers, batches of {load.batch}")
    request = infer_request("asks", {"HISTORY": ["a"]})
    arrivals = Arrivals(
        [with_parameters(request, load.deadline)], load.deadline, callers=load.callers
    )
    with scratch_directory() as scratch:
        _write(scratch, load)
        with (
            TritonServer(scratch) as server,
            ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        ):
            pool.submit(storm, server.grpc_address, [arrivals], seconds).result()
            reached, gone, wall, cpu = _ask(server.grpc_address, request)
    return Row(load, int(reached), int(gone), wall / reached * 1e6, cpu / reached * 1e6)


def _write(repository: Path, load: Load) -> None:
    version = repository / "asks" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(_MODEL.format(work=load.work), "utf-8")
    (repository / "asks" / "config.pbtxt").write_text(_CONFIG.format(batch=load.batch), "utf-8")


def _ask(address: str, request: bytes) -> list[float]:
    with grpc.insecure_channel(address) as channel:
        answer = channel.unary_unary(INFER, None, service_pb2.ModelInferResponse.FromString)(
            request, timeout=_PATIENT
        )
    found: list[float] = np.frombuffer(answer.raw_output_contents[0]).tolist()
    return found


def table(rows: Sequence[Row]) -> str:
    """A table in Markdown."""
    lines = [
        "| largest batch | callers | each waits | requests | callers had left | µs | µs of CPU |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.load.batch} | {row.load.callers} | {row.load.deadline:g} s | {row.reached:,} | "
        f"{row.gone / row.reached:.0%} | {row.wall:.0f} | {row.cpu:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)
