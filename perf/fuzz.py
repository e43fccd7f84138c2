"""``python -m perf fuzz``: odd requests, with good ones among them whose answers are compared."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import grpc
import hypothesis
import psutil
import typer
from google.protobuf.message import DecodeError
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

from builder.options import command
from builder.repository import DEFAULT_REPOSITORY, read_manifest
from builder.repository.golden import GoldenRequest, golden_of
from builder.serving import TritonServer
from perf.errors import PerfError
from perf.good_requests import (
    Answer,
    Key,
    answer_of,
    difference,
    good_requests,
    key_of,
    names_of,
    of_events,
)
from perf.odd_requests import STREAM, Call, calls, read_line
from perf.options import note
from perf.processes import model_processes, server_processes
from perf.wire_requests import INFER, models_of

_SERVICE: Final = "/inference.GRPCInferenceService/"
_ROUND: Final = 8
"""Odd requests that are sent at once, each with a good one beside it."""
_PART: Final = 400
"""Odd requests that are drawn from one seed: Hypothesis remembers what it has drawn with it."""
_DEADLINE: Final = 20.0

_CLEAR: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: "",
    grpc.StatusCode.NOT_FOUND: "",
    grpc.StatusCode.UNIMPLEMENTED: "",
    grpc.StatusCode.ALREADY_EXISTS: "overloaded",
    grpc.StatusCode.UNAVAILABLE: "This protocol is restricted|Request timeout expired",
    # gRPC, of bytes that are no message; Triton's backends, of rows that its core counts as int32.
    grpc.StatusCode.INTERNAL: r"Unable to parse request|batch size \d+ .* max allowed is \d+",
    # gRPC, of an error that repeats what is too long to be told in a header.
    grpc.StatusCode.RESOURCE_EXHAUSTED: "received metadata size exceeds",
}
"""The errors that an odd request may get, each with what must be said then."""


class Fault(PerfError):  # noqa: N818  (it names what was found)
    """A server that does not keep what it promises; the message has the calls that led to it."""


class _Over(BaseException):
    """A Fault that Hypothesis does not catch."""


@dataclass(slots=True)
class Tally:
    """What came of odd requests.

    Attributes
    ----------
    requests
        How many odd requests there were, and as many good ones.
    ends
        How many of them ended with each status.
    grown
        MiB by process: memory at the end over that after a tenth of the requests.
    """

    requests: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    grown: dict[str, float] = field(default_factory=dict)


@command
def fuzz(
    repository: Annotated[
        Path, typer.Option(help="Repository of an export, to be served.")
    ] = DEFAULT_REPOSITORY,
    requests: Annotated[int, typer.Option(help="How many odd requests to send.", min=1)] = 100_000,
    seed: Annotated[int, typer.Option(help="What the requests are drawn from.")] = 0,
    again: Annotated[
        Path | None, typer.Option(help="File with the lines of a failure, to send instead.")
    ] = None,
) -> None:
    """Send a server odd requests, and hold every answer to what was promised.

    Serves the repository, and keeps what `observe` is told until the end. The requests are drawn by
    Hypothesis: wrong types, shapes, parameters and bytes, to each model. Beside each goes a golden
    request of the export, in the same batch where that can be. Exit code 1 with the requests that
    led to it when one of them is not answered by a result or a clear error, when the answer to a
    golden request changes, or a process ends.

    Example: python -m perf fuzz --requests 100000
    """
    manifest = read_manifest(repository)
    golden = golden_of(manifest.versions[manifest.active])
    if not golden:
        raise PerfError(f"{repository} has no golden requests; export it again")
    with TemporaryDirectory() as events, TritonServer(repository, events=Path(events)) as server:
        if again is not None:
            tally = send_again(server, golden, again.read_text("utf-8").splitlines())
        else:
            tally = send_odd(server, golden, requests, seed, note)
    ends = ", ".join(f"{count:,} {code}" for code, count in tally.ends.most_common())
    typer.echo(f"{tally.requests:,} odd requests: {ends}")
    typer.echo("as many good ones beside them, all answered as by a quiet server")
    for process, grown in tally.grown.items():
        typer.echo(f"{process}: {grown:+.1f} MiB since a tenth of them")


def send_odd(
    server: TritonServer,
    golden: Sequence[GoldenRequest],
    requests: int,
    seed: int,
    progress: Callable[[str], object] = lambda _: None,
) -> Tally:
    """Send odd requests to a server that nobody else uses; Fault where it fails."""
    parts = -(-requests // _PART)
    before: dict[str, float] = {}
    with _Wire(server, golden) as wire:
        for part in range(parts):
            wire.part(seed + part, min(_PART, requests - part * _PART))
            if part == parts // 10:
                before = wire.memory()
            if (part + 1) % 25 == 0:
                progress(f"{wire.tally.requests:,} odd requests")
        wire.tally.grown = {name: after - before[name] for name, after in wire.memory().items()}
        return wire.tally


def send_again(
    server: TritonServer, golden: Sequence[GoldenRequest], lines: Iterable[str]
) -> Tally:
    """Send the calls on the lines that a Fault has told, all at once; Fault as before."""
    with _Wire(server, golden) as wire:
        wire.round([read_line(line) for line in lines if line.strip()])
        return wire.tally


class _Wire:
    """The connections to a server, and good requests with the answers of the quiet server."""

    def __init__(self, server: TritonServer, golden: Sequence[GoldenRequest]) -> None:
        self.tally = Tally()
        own: Any = [("grpc.use_local_subchannel_pool", 1)]
        self._good = grpc.insecure_channel(server.grpc_address, own)
        self._odd = [grpc.insecure_channel(server.grpc_address, own) for _ in range(_ROUND)]
        models = list(models_of(server, service_pb2_grpc.GRPCInferenceServiceStub(self._good)))
        self._expected: dict[Key, tuple[bytes, Answer]] = {}
        for each in [*golden, *of_events(golden)]:
            self._learn(each)
        self._next = itertools.cycle(self._expected)
        self._calls = calls(models, names_of(golden))
        self._processes = {name: each for each, name in model_processes(server)}
        (triton,) = (
            each
            for each in server_processes(server.identity)
            if each.info["cmdline"][0].endswith("/tritonserver")
        )
        self._processes["tritonserver"] = triton

    def _learn(self, golden: GoldenRequest) -> None:
        """Ask while nobody else does."""
        for place, request in enumerate(good_requests(golden)):
            body: bytes = request.SerializeToString()
            answer = answer_of(_start(self._good, Call(INFER, body)).result())
            if place == 0 and (problem := golden.problem(answer)):
                raise Fault(f"the golden request to {golden.model} is answered wrong: {problem}")
            self._expected[key_of(request)] = body, answer

    def __enter__(self) -> _Wire:
        return self

    def __exit__(self, *_: object) -> None:
        for channel in [*self._odd, self._good]:
            channel.close()

    def memory(self) -> dict[str, float]:
        """MiB that each process has for itself."""
        return {
            name: process.memory_full_info().uss / 2**20
            for name, process in self._processes.items()
        }

    def part(self, seed: int, requests: int) -> None:
        """Send as many requests, drawn from a seed."""

        # A broken server may stay broken, and then every smaller request would look guilty. So no
        # example is sent again, or made smaller.
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=-(-requests // _ROUND),
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
            database=None,
            deadline=None,
        )
        @hypothesis.given(st.data())
        def send(data: st.DataObject) -> None:
            odd = [data.draw(self._calls) for _ in range(_ROUND)]
            try:
                self.round(odd)
            except Fault as fault:
                raise _Over(fault) from fault

        try:
            send()
        except _Over as over:
            raise Fault(f"{over}\n(--seed {seed})") from None

    def round(self, odd: Sequence[Call]) -> None:
        """Send calls at once, each with a good one beside it."""
        mates = [self._mate(call) for call in odd]
        sent = []
        for place, (call, mate) in enumerate(zip(odd, mates, strict=True)):
            sent.append(_start(self._odd[place % _ROUND], call))
            sent.append(_start(self._good, Call(INFER, self._expected[mate][0])))
        problems = [
            f"{call.method}: {problem}"
            for call, under_way in zip(odd, sent[::2], strict=True)
            if (problem := self._problem_of_odd(call.method, under_way))
        ]
        problems += [
            f"a good request to {mate[0]}: {problem}"
            for mate, under_way in zip(mates, sent[1::2], strict=True)
            if (problem := _problem_of_good(under_way, self._expected[mate][1]))
        ]
        problems += [f"{name} has ended" for name in self._ended()]
        if problems:
            lines = "\n".join(call.line for call in odd)
            raise Fault("\n".join([*problems, "after these requests:", lines]))
        self.tally.requests += len(odd)

    def _mate(self, call: Call) -> Key:
        """A good request that may share a batch with a call; any other where there is none."""
        try:
            request: Any = service_pb2.ModelInferRequest.FromString(call.body)
        except DecodeError:
            return next(self._next)
        key = key_of(request)
        return key if key in self._expected else next(self._next)

    def _problem_of_odd(self, method: str, under_way: Any) -> str:
        try:
            found = under_way.result()
        except grpc.RpcError as error:
            code, said = error.code(), error.details() or ""
            self.tally.ends[code.name] += 1
            wanted = _CLEAR.get(code)
            if wanted is not None and re.search(wanted, said) and "Traceback" not in said:
                return ""
            return f"{code.name}: {said}"
        self.tally.ends["OK"] += 1
        if b"Traceback" in found:
            return f"answered {found!r}"
        if method == INFER:
            try:
                answer_of(found)
            except (DecodeError, ValueError) as error:
                return f"answered what cannot be read: {error}"
        return ""

    def _ended(self) -> Iterator[str]:
        for name, process in self._processes.items():
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                yield name


def _start(channel: Any, call: Call) -> Any:
    if call.method == STREAM:
        return _Stream(
            channel.stream_stream(_SERVICE + call.method)(iter([call.body]), timeout=_DEADLINE)
        )
    return channel.unary_unary(_SERVICE + call.method).future(call.body, timeout=_DEADLINE)


@dataclass
class _Stream:
    """The answers of a stream, as the one of a call."""

    call: Any

    def result(self) -> bytes:
        return b"".join(self.call)


def _problem_of_good(under_way: Any, expected: Answer) -> str:
    try:
        return difference(answer_of(under_way.result()), expected)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
