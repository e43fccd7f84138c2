"""CPU time of a call in the client, beside tritonclient's for the same request to one server.

Four ways to send one ranking request take turns, in blocks of calls, so that whatever else the
machine does hits all alike:

``client``
    ``RecommenderClient.rank``: lists of ids in, a checked ``Ranking`` out.
``tritonclient``
    ``InferenceServerClient.infer`` with numpy inputs, and ``as_numpy`` of the four outputs.
``gRPC alone``
    The finished bytes through a bare ``grpc`` channel, nothing read: what no client in Python can
    go below.
``client alone``
    As ``client``, with the server's answer handed in from memory at once. Less than ``client`` has
    above ``gRPC alone``: code that runs just after a wait finds nothing of its own in the caches.

CPU time is the whole process's, gRPC's own threads included, the server's not.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final
from unittest import mock

import grpc
import numpy as np
import tritonclient.grpc as triton
import typer

from builder.options import command
from client import RecommenderClient
from perf.options import Json

CANDIDATES: Final = (1, 100, 1000)
HISTORY: Final = 20
_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
_TIMEOUT: Final = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Overhead:
    """Median microseconds a call, over the blocks."""

    candidates: int
    way: str
    cpu: float
    wall: float


@dataclasses.dataclass(frozen=True, slots=True)
class Footprint:
    """Import time in seconds (the best of several processes) and size in MiB.

    ``installed`` is the size of the base install: the client's own files with those of numpy,
    grpcio, protobuf and tritonclient.
    """

    import_seconds: float
    own: float
    installed: float


def measure(
    address: str, *, ids: Sequence[str], blocks: int = 40, calls: int = 25
) -> list[Overhead]:
    """Measure against the server at ``address``, whose catalogue holds ``ids``."""
    history = [ids[i % len(ids)] for i in range(HISTORY)]
    results = []
    with (
        RecommenderClient(address, timeout=_TIMEOUT) as client,
        triton.InferenceServerClient(address) as peer,
        grpc.insecure_channel(address) as channel,
    ):
        for count in CANDIDATES:
            candidates = [ids[i % len(ids)] for i in range(count)]
            ways: dict[str, Callable[[], Any]] = {
                "client": partial(client.rank, history, candidates),
                "tritonclient": partial(_ask_peer, peer, history, candidates),
                "gRPC alone": (bare := _bare(channel, history, candidates)),
            }
            with _alone(bare(), history, candidates) as alone:
                ways["client alone"] = alone
                for way, times in _take_turns(ways, blocks, calls).items():
                    cpu, wall = (statistics.median(each) * 1e6 for each in zip(*times, strict=True))
                    results.append(Overhead(count, way, cpu, wall))
    return results


def footprint(runs: int = 7) -> Footprint:
    """Measure what importing and installing the client costs."""
    code = "import time; t = time.perf_counter(); import client; print(time.perf_counter() - t)"
    root = Path(__file__).parents[1]
    seconds = min(
        float(subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True,
                             text=True, check=True).stdout)
        for _ in range(runs)
    )  # fmt: skip
    own = sum(path.stat().st_size for path in (root / "client").glob("*.py"))
    others = sum(
        Path(str(file.locate())).stat().st_size
        for name in ("numpy", "grpcio", "protobuf", "tritonclient")
        for file in importlib.metadata.files(name) or ()
        if Path(str(file.locate())).is_file() and file.suffix != ".pyc"
    )
    return Footprint(seconds, own / 2**20, (own + others) / 2**20)


@contextmanager
def small_server() -> Iterator[tuple[str, list[str]]]:
    """Serve the small repository of the integration tests; yields address and item ids."""
    from builder.serving import TritonServer
    from tests.integration.tiny_repository import CATALOGUE, write_tiny_repository

    with TemporaryDirectory() as directory:
        write_tiny_repository(Path(directory))
        with TritonServer(Path(directory)) as server:
            yield server.grpc_address, [f"i{index}" for index in range(CATALOGUE)]


@command
def client_overhead(
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="gRPC address of a server. Default: a small one is started."
        ),
    ] = None,
    ids: Annotated[
        str, typer.Option(metavar="ID,ID", help="Item ids of its catalogue, with --address.")
    ] = "1,2,3",
    blocks: Annotated[int, typer.Option(help="Blocks of calls in each way.")] = 40,
    *,
    as_json: Json = False,
) -> None:
    """Measure the CPU time of a call in the client, beside tritonclient's.

    Example: python -m perf client-overhead --address localhost:8001 --ids 50,172,1
    """
    server = nullcontext((address, ids.split(","))) if address else small_server()
    with server as (served, items):
        results = measure(served, ids=items, blocks=blocks)
    cost = footprint()
    if as_json:
        report = {
            "calls": [dataclasses.asdict(each) for each in results],
            "footprint": dataclasses.asdict(cost),
        }
        typer.echo(json.dumps(report, indent=2))
        return
    of_client = {each.candidates: each.cpu for each in results if each.way == "client"}
    typer.echo(f"{'candidates':>10}  {'':14}  {'CPU us':>8}  {'wall us':>8}  {'CPU / client':>12}")
    for each in results:
        typer.echo(
            f"{each.candidates:>10}  {each.way:14}  {each.cpu:8.0f}  {each.wall:8.0f}  "
            f"{each.cpu / of_client[each.candidates]:12.2f}"
        )
    typer.echo(
        f"import {cost.import_seconds:.3f} s, own files {cost.own:.2f} MiB, "
        f"with dependencies {cost.installed:.0f} MiB"
    )


class _Memory:
    """A channel that gives one answer to everything."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def unary_unary(self, _path: str) -> Callable[..., bytes]:
        return lambda _request, **_options: self._answer

    def close(self) -> None: ...


@contextmanager
def _alone(
    answer: bytes, history: Sequence[str], candidates: Sequence[str]
) -> Iterator[Callable[[], Any]]:
    with RecommenderClient(timeout=_TIMEOUT) as client:
        call = partial(client.rank, history, candidates)
        with mock.patch.object(grpc, "insecure_channel", return_value=_Memory(answer)):
            call()  # connects
        yield call


def _take_turns(
    ways: Mapping[str, Callable[[], Any]], blocks: int, calls: int
) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for call in ways.values():  # connect, fill the caches
        for _ in range(calls):
            call()
    for _ in range(blocks):
        for way, call in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(calls):
                call()
            times[way].append(
                ((time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls)
            )
    return times


def _ask_peer(peer: Any, history: Sequence[str], candidates: Sequence[str]) -> list[Any]:
    inputs = _inputs(history, candidates)
    answer = peer.infer("rank", inputs, client_timeout=_TIMEOUT, parameters={"on_unknown": "error"})
    return [answer.as_numpy(name) for name in ("INTEREST", "LOGIT", "SKIPPED", "TRUNCATED")]


def _inputs(history: Sequence[str], candidates: Sequence[str]) -> list[Any]:
    inputs = []
    for name, values in (("HISTORY", history), ("CANDIDATE", candidates)):
        array = np.array([values], np.object_)
        inputs.append(triton.InferInput(name, array.shape, "BYTES"))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def _bare(channel: Any, history: Sequence[str], candidates: Sequence[str]) -> Callable[[], Any]:
    from tritonclient.grpc._utils import _get_inference_request

    request = _get_inference_request(
        model_name="rank", inputs=_inputs(history, candidates), model_version="", request_id="",
        outputs=None, sequence_id=0, sequence_start=False, sequence_end=False, priority=0,
        timeout=None, parameters={"on_unknown": "error"},
    ).SerializeToString()  # fmt: skip
    method = channel.unary_unary(_METHOD)
    return lambda: method(request, timeout=_TIMEOUT)
