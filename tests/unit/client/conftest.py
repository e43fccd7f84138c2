"""A real gRPC server in this process that speaks Triton's protocol and answers as told."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import settings
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from client import AsyncRecommenderClient, RecommenderClient

# A busy machine fails no test.
settings.register_profile("client", deadline=None)
settings.load_profile("client")

_NUMPY = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}


def respond(**tensors: Any) -> service_pb2.ModelInferResponse:
    """Build a response from arrays, or from (datatype, shape, raw) to say what is not so."""
    response = service_pb2.ModelInferResponse()
    for name, value in tensors.items():
        if isinstance(value, tuple):
            datatype, shape, raw = value
        else:
            array = np.asarray(value)
            shape = array.shape
            if array.dtype == object:
                datatype = "BYTES"
                raw = serialize_byte_tensor(array).item() if array.size else b""
            else:
                datatype = {np.float32: "FP32", np.int32: "INT32"}[array.dtype.type]
                raw = array.tobytes()
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(raw)
    return response


def answer_well(request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
    """Answer as the contract says, with numbers that depend on the position only."""
    shapes = {tensor.name: tuple(tensor.shape) for tensor in request.inputs}
    counts = {"SKIPPED": np.array([[1]], np.int32), "TRUNCATED": np.array([[2]], np.int32)}
    if request.model_name == "encode":
        rows = shapes["TEXT"][0]
        return respond(
            VECTOR=np.arange(rows * 4, dtype=np.float32).reshape(rows, 4),
            TRUNCATED=np.arange(rows, dtype=np.int32).reshape(rows, 1) % 2,
        )
    if request.model_name == "classify":
        rows = shapes["TEXT"][0]
        answer = respond(
            PROBABILITY=np.array([[0.2, 0.8], [0.6, 0.4], [0.4, 0.3]], np.float32)[
                np.arange(rows) % 3
            ],
            TRUNCATED=np.zeros((rows, 1), np.int32),
        )
        answer.model_version = "7"
        return answer
    if request.model_name == "rank":
        logits = np.arange(shapes["CANDIDATE"][1], dtype=np.float32)[None]
        return respond(INTEREST=1 / (1 + np.exp(-logits)), LOGIT=logits, **counts)
    asked = request.parameters.get("top_k")
    logits = -np.arange(asked.int64_param if asked else 10, dtype=np.float32)[None]
    items = np.array([[f"item-{i}" for i in range(logits.size)]], object).reshape(logits.shape)
    return respond(ITEM=items, INTEREST=1 / (1 + np.exp(-logits)), LOGIT=logits, **counts)


def dead_port() -> int:
    """Return a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass
class Triton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """What the server got, and how it answers."""

    answer: Callable[[service_pb2.ModelInferRequest], service_pb2.ModelInferResponse] = answer_well
    abort: tuple[grpc.StatusCode, str] | None = None
    refuse: tuple[grpc.StatusCode, str] | None = None
    """As ``abort``, of inferences alone."""
    hang: bool = False
    limit: int = 64
    max_candidates: int | None = None
    config_abort: grpc.StatusCode | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    """Of the configuration of ``classify``."""
    config_requests: list[service_pb2.ModelConfigRequest] = field(default_factory=list)
    not_ready: set[str] = field(default_factory=set)
    requests: list[service_pb2.ModelInferRequest] = field(default_factory=list)
    time_remaining: list[float | None] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def _receive(self, context: grpc.ServicerContext) -> None:
        self.time_remaining.append(context.time_remaining())
        self.arrived.set()
        if self.hang:
            self.released.wait(timeout=60)
        if self.abort is not None:
            context.abort(*self.abort)

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.requests.append(request)
        self._receive(context)
        if self.refuse is not None:
            context.abort(*self.refuse)
        try:
            return self.answer(request)
        except Exception as error:
            if type(error).__name__ == "Refused":
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._receive(context)
        return service_pb2.ModelReadyResponse(ready=request.name not in self.not_ready)

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.config_requests.append(request)
        if self.config_abort is not None:
            context.abort(self.config_abort, "not for you")
        ranks = request.name == "rank"
        response = service_pb2.ModelConfigResponse()
        response.config.name = request.name
        response.config.max_batch_size = 0 if ranks else self.limit
        if ranks and self.max_candidates:
            response.config.parameters["max_candidates"].string_value = str(self.max_candidates)
        for name, value in self.parameters.items():
            response.config.parameters[name].string_value = value
        return response

    def ServerLive(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        self._receive(context)
        return service_pb2.ServerLiveResponse(live=True)

    def inputs(self, number: int | None = None) -> dict[str, Any]:
        """Read the inputs of the only request, or of one of them, decoded by tritonclient."""
        if number is None:
            (request,) = self.requests
        else:
            request = self.requests[number]
        assert len(request.inputs) == len(request.raw_input_contents)
        decoded: dict[str, Any] = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            values = (
                [element.decode() for element in deserialize_bytes_tensor(raw)]
                if tensor.datatype == "BYTES"
                else np.frombuffer(raw, _NUMPY[tensor.datatype]).tolist()
            )
            decoded[tensor.name] = (tensor.datatype, list(tensor.shape), values)
        return decoded


@pytest.fixture
def triton() -> Iterator[Triton]:
    servicer = Triton()
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    servicer.released.set()
    server.stop(grace=None).wait()


class Blocking:
    """The asyncio client with the blocking one's way of being called."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.client = AsyncRecommenderClient(*args, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            if inspect.isasyncgen(result):
                return self.iterate(result)
            return self.wait(result)

        return call if callable(method) else method

    def iterate(self, iterator: Any) -> Iterator[Any]:
        end = object()
        try:
            while (entry := self.wait(anext(iterator, end))) is not end:
                yield entry
        finally:
            self.wait(iterator.aclose())

    def wait(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(60)

    def close(self) -> None:
        self.wait(self.client.close())

    def stop(self) -> None:
        self.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return repr(self.client)


BOTH = {"blocking": RecommenderClient, "asyncio": Blocking}


@pytest.fixture(params=list(BOTH.values()), ids=list(BOTH))
def connect(request: pytest.FixtureRequest) -> type[RecommenderClient]:
    """Make a client, blocking or asyncio's: a test that uses it runs through both."""
    kind: type[RecommenderClient] = request.param
    return kind


@pytest.fixture
def client(triton: Triton, connect: type[RecommenderClient]) -> Iterator[RecommenderClient]:
    # Patient, so that a busy machine fails no test; those about deadlines set their own.
    with connect(triton.address, timeout=60) as connected:
        yield connected


@pytest.fixture
def nowhere(connect: type[RecommenderClient]) -> Iterator[RecommenderClient]:
    """A client of a port where nothing listens: whatever it sends comes back as Unavailable."""
    with connect("127.0.0.1:1", timeout=60) as unconnected:
        yield unconnected


@pytest.fixture(name="respond")
def respond_fixture() -> Callable[..., service_pb2.ModelInferResponse]:
    return respond
