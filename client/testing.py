"""A server for the tests of services: speaks Triton's protocol, in this process, without models.

>>> from client import RecommenderClient
>>> from client.testing import FakeServer
>>> with FakeServer(items=["50", "172", "181"]) as server:
...     with RecommenderClient(server.address) as client:
...         [item.id for item in client.recommend(["50"], top_k=2)]
['172', '181']

It is a real gRPC server, so everything but the models is as in production: what the service sends
is encoded, travels, and is decoded again, with deadlines, errors and cancellation.
"""

from __future__ import annotations

import json
import math
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from client._bytes import decode_strings, encode_strings
from model_repository.core import contract

Score = Callable[[Sequence[str], str], float]
"""History, item → logit."""

_WIDTH: Final = 8
_MAX_BATCH: Final = 64
_LABELS: Final = ("no", "yes")
_PING_EVERY: Final = 5_000  # milliseconds


@dataclass(frozen=True, slots=True)
class Request:
    """An inference request as it arrived.

    Attributes
    ----------
    inputs
        The values sent for each input, such as ``{"HISTORY": ["50"], "CANDIDATE": ["1"]}``.
    options
        The request's parameters, such as ``{"top_k": 10}``; Triton's own ``timeout`` among them.
    metadata
        gRPC metadata, the client's and gRPC's own.
    time_left
        Seconds to the client's deadline; None without one.
    """

    model: str
    id: str
    inputs: Mapping[str, list[Any]]
    options: Mapping[str, Any]
    metadata: Mapping[str, str]
    time_left: float | None

    @property
    def profile(self) -> Mapping[str, Any]:
        """What was told of the user, such as ``{"age": 24}``; ValueError if it cannot be read."""
        (text,) = self.inputs.get(contract.PROFILE.name, ("",))
        try:
            return dict(json.loads(text or "{}"))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{contract.PROFILE.name}[0] {text!r} is no JSON object ({error})"
            ) from error


@dataclass(slots=True)
class _Fault:
    code: grpc.StatusCode
    details: str
    trailing: Sequence[tuple[str, str]]
    times: int


@dataclass(slots=True)
class _Behaviour:
    items: Sequence[str]
    score: Score
    profile: Sequence[str] | None = None
    delay: float = 0.0
    ready: bool = True
    faults: list[_Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    event_ids: set[str] = field(default_factory=set)
    cancelled: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)


def _default_score(history: Sequence[str], item: str) -> float:
    """Return the same number for the same arguments in every process."""
    return zlib.crc32("\0".join([*history, item]).encode()) / 2**31 - 1


class FakeServer:
    """Answers the models that services ask; use it as a context manager.

    ``classify`` has the labels "no" and "yes". With ``explain`` the latest three events are the
    reasons of each item. ``observe`` counts events of the catalogue's items, each id once; they
    change no list. Neither does a request that explores: its propensities are 1. With ``like`` and
    ``query`` a list is the same too, but for the item itself, and each similarity is 0.5.

    Parameters
    ----------
    items
        The catalogue, for ``recommend``; an item of the history is not recommended unless asked
        for. ``rank`` scores every id.
    score
        Logit of an item for a history; by default a number made up from both, always the same.
        Without it ``recommend`` returns the items in their order.
    profile
        The columns of a user's profile that are known; None for any. ``Request.profile`` shows
        what arrived.
    port
        0 for any that is free.
    credentials
        Serve TLS.
    """

    def __init__(
        self,
        items: Sequence[str] = (),
        *,
        score: Score | None = None,
        profile: Sequence[str] | None = None,
        port: int = 0,
        credentials: grpc.ServerCredentials | None = None,
        workers: int = 16,
    ) -> None:
        ranks = {item: -float(position) for position, item in enumerate(items)}
        by_order: Score = lambda history, item: ranks.get(item, _default_score(history, item))  # noqa: E731
        self._behaviour = _Behaviour(tuple(items), score or by_order, profile)
        self._port = port
        self._credentials = credentials
        self._workers = workers
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        """host:port, once the server runs."""
        return f"localhost:{self._port}"

    @property
    def requests(self) -> list[Request]:
        """The inference requests so far, also those that were failed."""
        return self._behaviour.requests

    @property
    def cancelled(self) -> int:
        """Requests whose caller went away before the answer."""
        return self._behaviour.cancelled

    def set_delay(self, seconds: float) -> None:
        """Hold every inference back from now on."""
        self._behaviour.delay = seconds

    def set_ready(self, ready: bool) -> None:  # noqa: FBT001 - it says what it sets
        self._behaviour.ready = ready

    def fail(
        self,
        code: grpc.StatusCode,
        details: str = "",
        *,
        times: int = 1,
        trailing: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Fail the next ``times`` inferences; ``trailing`` is metadata that goes with the error."""
        self._behaviour.faults.append(_Fault(code, details, trailing, times))

    def start(self) -> None:
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", -1),
            # As `builder serve` has it: gRPC's own 300 s end the calls of clients that ask more
            # often whether the server is alive.
            ("grpc.http2.min_ping_interval_without_data_ms", _PING_EVERY),
        ]
        server = grpc.server(ThreadPoolExecutor(self._workers), options=options)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
            _Servicer(self._behaviour), server
        )
        where = f"localhost:{self._port}"
        self._port = (
            server.add_insecure_port(where)
            if self._credentials is None
            else server.add_secure_port(where, self._credentials)
        )
        self._behaviour.stopping.clear()
        server.start()
        self._server = server

    def stop(self) -> None:
        """Stop at once; ``start`` serves on the same port again."""
        if self._server is not None:
            self._behaviour.stopping.set()
            self._server.stop(grace=None).wait()
            self._server = None

    def __enter__(self) -> FakeServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, behaviour: _Behaviour) -> None:
        self._behaviour = behaviour

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        received = _read(request, context)
        behaviour = self._behaviour
        with behaviour.lock:
            behaviour.requests.append(received)
            fault = _next_fault(behaviour.faults)
        with self._counting_cancellation(context):
            self._hold_back(context)
            if fault is not None:
                context.set_trailing_metadata(tuple(fault.trailing))
                context.abort(fault.code, fault.details)
            try:
                return self._answer(received)
            except KeyError as error:
                context.abort(
                    grpc.StatusCode.NOT_FOUND, f"Request for unknown model: {error} is not found"
                )
            except ValueError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return service_pb2.ServerLiveResponse(live=True)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return service_pb2.ModelReadyResponse(ready=self._behaviour.ready)

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return service_pb2.ServerMetadataResponse(name="fake", version="0", extensions=["fake"])

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return service_pb2.ModelMetadataResponse(name=request.name, versions=["1"])

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        response = service_pb2.ModelConfigResponse(
            config={"name": request.name, "max_batch_size": _MAX_BATCH}
        )
        if request.name == contract.CLASSIFY.name:
            response.config.parameters[contract.LABELS].string_value = json.dumps(_LABELS)
            response.config.parameters[contract.ACTIVATION].string_value = "softmax"
        return response

    def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        counts: dict[str, int] = {}
        for each in list(self._behaviour.requests):
            counts[each.model] = counts.get(each.model, 0) + 1
        response = service_pb2.ModelStatisticsResponse()
        for name, count in counts.items():
            if request.name in ("", name):
                entry = response.model_stats.add(name=name, version="1", inference_count=count)
                entry.inference_stats.success.count = count
        return response

    def _hold_back(self, context: grpc.ServicerContext) -> None:
        end = time.monotonic() + self._behaviour.delay
        while time.monotonic() < end and context.is_active():
            if self._behaviour.stopping.wait(min(0.01, max(0.0, end - time.monotonic()))):
                return

    @contextmanager
    def _counting_cancellation(self, context: grpc.ServicerContext) -> Iterator[None]:
        answered = threading.Event()

        def ended() -> None:
            if not answered.is_set() and not self._behaviour.stopping.is_set():
                with self._behaviour.lock:
                    self._behaviour.cancelled += 1

        context.add_callback(ended)
        try:
            yield
        finally:
            answered.set()

    def _answer(self, request: Request) -> Any:
        answers = {
            contract.RANK.name: self._rank,
            contract.RECOMMEND.name: self._recommend,
            contract.OBSERVE.name: self._observe,
            contract.ENCODE.name: self._encode,
            contract.CLASSIFY.name: self._classify,
        }
        tensors = answers[request.model](request)
        response = service_pb2.ModelInferResponse(
            model_name=request.model, model_version="1", id=request.id
        )
        for name, values in tensors.items():
            _add(response, name, values)
        return response

    def _check_profile(self, request: Request) -> None:
        known = self._behaviour.profile
        for name, value in request.profile.items():
            if known is not None and name not in known:
                raise ValueError(
                    f"{contract.PROFILE.name}[0] gives {name!r} the value {value!r}, and the model "
                    f"knows no such column; its columns are {', '.join(known)}"
                )

    def _rank(self, request: Request) -> dict[str, Any]:
        self._check_profile(request)
        history, candidates = (
            request.inputs[contract.HISTORY.name],
            request.inputs[contract.CANDIDATE.name],
        )
        logits = [self._behaviour.score(history, item) for item in candidates]
        found = {**_scores(logits), **_NO_COUNTS}
        if _option(request, contract.EXPLAIN):
            found[contract.REASON.name] = [_reason(history, logit) for logit in logits]
        return found

    def _recommend(self, request: Request) -> dict[str, Any]:
        self._check_profile(request)
        history = request.inputs[contract.HISTORY.name]
        left_out = set(request.inputs.get(contract.EXCLUDE.name, ()))
        if not _option(request, contract.INCLUDE_SEEN):
            left_out |= set(history)
        top_k = int(_option(request, contract.TOP_K))
        if top_k < 1:
            raise ValueError(f"parameter top_k is {top_k}; it must be at least 1")
        if like := _option(request, contract.LIKE):
            left_out.add(like)
        scored = [
            (self._behaviour.score(history, item), item)
            for item in self._behaviour.items
            if item not in left_out
        ]
        cursor = _option(request, contract.PAGE)
        first = int(cursor) if cursor.isdigit() else 0
        best = sorted(scored, key=lambda pair: -pair[0])[first : first + top_k]
        items = [item for _, item in best]
        found = {
            contract.ITEM.name: items,
            **_scores([logit for logit, _ in best]),
            **_NO_COUNTS,
            **_propensities(request, len(items)),
            **_similarities(request, len(items)),
        }
        if cursor:
            more = first + top_k < len(scored)
            found[contract.CURSOR.name] = [str(first + top_k) if more else ""]
        if _option(request, contract.TRACED):
            found[contract.TRACE.name] = ['{"items": {}, "removed": {}, "unmet": []}']
        if _option(request, contract.EXPLAIN):
            found[contract.REASON.name] = [_reason(history, logit) for logit, _ in best]
        return found

    def _observe(self, request: Request) -> dict[str, Any]:
        counts = dict.fromkeys((contract.ACCEPTED, contract.UNKNOWN, contract.REPEATED), 0)
        items = request.inputs[contract.OBSERVED_ITEM.name]
        with self._behaviour.lock:
            for item, name in zip(
                items, request.inputs.get(contract.EVENT_ID.name, [""] * len(items)), strict=True
            ):
                if name in self._behaviour.event_ids:
                    counts[contract.REPEATED] += 1
                    continue
                known = item in self._behaviour.items
                counts[contract.ACCEPTED if known else contract.UNKNOWN] += 1
                if name:
                    self._behaviour.event_ids.add(name)
        return {spec.name: np.array([[count]], np.int32) for spec, count in counts.items()}

    def _encode(self, request: Request) -> dict[str, Any]:
        texts = request.inputs[contract.TEXT.name]
        vectors = [
            np.random.default_rng(zlib.crc32(text.encode())).standard_normal(_WIDTH)
            for text in texts
        ]
        return {
            contract.VECTOR.name: np.array(vectors, np.float32),
            contract.TRUNCATED.name: np.zeros((len(texts), 1), np.int32),
        }

    def _classify(self, request: Request) -> dict[str, Any]:
        texts = request.inputs[contract.TEXT.name]
        ones = np.array([zlib.crc32(text.encode()) / 2**32 for text in texts], np.float32)
        return {
            contract.PROBABILITY.name: np.stack([1 - ones, ones], axis=1),
            contract.TRUNCATED.name: np.zeros((len(texts), 1), np.int32),
        }


def _option(request: Request, option: contract.OptionSpec) -> Any:
    return request.options.get(option.name, option.default)


def _propensities(request: Request, items: int) -> dict[str, Any]:
    """Those of a list in which no chance decides."""
    if not _option(request, contract.EXPLORE):
        return {}
    return {
        contract.PROPENSITY.name: np.ones((1, items), np.float32),
        contract.PROPENSITY_KIND.name: ["deterministic"],
    }


def _similarities(request: Request, items: int) -> dict[str, Any]:
    """All alike, where the request names something to be like."""
    named = (contract.LIKE, contract.LIKE_TEXT, contract.QUERY)
    if not any(_option(request, each) for each in named):
        return {}
    return {contract.SIMILARITY.name: np.full((1, items), 0.5, np.float32)}


_NO_COUNTS: Final = {
    contract.SKIPPED.name: np.zeros((1, 1), np.int32),
    contract.TRUNCATED.name: np.zeros((1, 1), np.int32),
}


def _scores(logits: Sequence[float]) -> dict[str, Any]:
    interests = [math.exp(min(logit, 0)) / (1 + math.exp(-abs(logit))) for logit in logits]
    return {
        contract.INTEREST.name: np.array([interests], np.float32),
        contract.LOGIT.name: np.array([logits], np.float32),
    }


def _reason(history: Sequence[str], logit: float) -> str:
    """The latest three events speak for every item, each as much."""
    places = range(len(history))[-1:-4:-1]
    events = [{"place": place, "id": history[place], "effect": 1.0} for place in places]
    return json.dumps({"events": events, "terms": {"network": logit}})


def _add(response: Any, name: str, values: Any) -> None:
    if isinstance(values, list):
        response.outputs.add(name=name, datatype="BYTES", shape=[1, len(values)])
        response.raw_output_contents.append(encode_strings(values))
    else:
        datatype = "FP32" if values.dtype == np.float32 else "INT32"
        response.outputs.add(name=name, datatype=datatype, shape=values.shape)
        response.raw_output_contents.append(values.tobytes())


def _read(request: Any, context: grpc.ServicerContext) -> Request:
    left = context.time_remaining()
    return Request(
        model=request.model_name,
        id=request.id,
        inputs={
            tensor.name: decode_strings(raw)
            if tensor.datatype == "BYTES"
            else np.frombuffer(raw, "<i8").tolist()
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        },
        options={
            name: getattr(value, value.WhichOneof("parameter_choice"))
            for name, value in request.parameters.items()
        },
        metadata={key: str(value) for key, value in context.invocation_metadata()},
        # What gRPC says where there is no deadline is hundreds of years.
        time_left=left if left is not None and left < 1e9 else None,
    )


def _next_fault(faults: list[_Fault]) -> _Fault | None:
    if not faults:
        return None
    fault = faults[0]
    fault.times -= 1
    if fault.times <= 0:
        del faults[0]
    return fault
