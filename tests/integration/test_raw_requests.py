"""What any client may send, past the SDK: whatever it is, to whichever model, it is answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from math import prod
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from builder.export.classifier import classifier
from builder.export.layout import Limits
from builder.export.pipeline import publish, target_named
from builder.serving import TritonServer
from client import Item, RecommenderClient
from perf.wire_requests import ELEMENT, Model, Tensor, Tensors, framed, message, models_of
from tests.integration.tiny_repository import Layout, write_tiny_repository
from tests.shared import first_of
from tests.unit.builder.classifier.tiny import write_classifier

AT_MOST: Final = 5.0
"""Seconds; Triton's batcher takes up to half a one, and the machine may be busy."""

ANSWERS: Final = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
)


def zeros(model: Model, length: int, *, optional: bool = True, rows: int = 1) -> dict[str, Tensor]:
    """Inputs of the right shape, axes that vary being ``length`` long.

    Triton counts the elements of no rows as those of one.
    """
    found = {}
    for each in model.inputs:
        if each.optional and not optional:
            continue
        dims = tuple(length if axis < 0 else axis for axis in each.dims)
        raw = ELEMENT[each.dtype] * prod(dims) * max(1, rows if model.batched else 1)
        found[each.name] = Tensor(each.dtype, (rows, *dims) if model.batched else dims, raw)
    return found


def requests(model: Model) -> Iterator[tuple[str, Tensors]]:
    """Odd requests, each with its description."""
    for optional in (False, True):
        for length in (0, 1, 3, 100):
            yield f"no rows of {length}", zeros(model, length, optional=optional, rows=0)
            yield f"a row of {length}", zeros(model, length, optional=optional)
        yield "too many rows", zeros(model, 2, optional=optional, rows=1000)
    yield "no inputs", {}
    for spec in model.inputs:
        usual = zeros(model, 3)
        right = usual.pop(spec.name)
        yield f"no {spec.name}", usual
        yield f"only {spec.name}", {spec.name: right}
        for what, tensor in odd(right):
            yield f"{spec.name} {what}", usual | {spec.name: tensor}
            yield f"only {spec.name} {what}", {spec.name: tensor}


def odd(right: Tensor) -> Iterator[tuple[str, Tensor]]:
    dtype, shape, raw = right.dtype, right.shape, right.raw
    for other in ELEMENT:
        if other != dtype:
            yield f"as {other}", Tensor(other, shape, ELEMENT[other] * prod(shape))
    yield "of a type that there is not", Tensor("TEXT", shape, raw)
    yield "cut", Tensor(dtype, shape, raw[:-1])
    yield "without bytes", Tensor(dtype, shape, b"")
    yield "with bytes too many", Tensor(dtype, shape, raw + b"\0")
    yield "with an axis more", Tensor(dtype, (*shape, 1), raw)
    yield "with an axis more in front", Tensor(dtype, (1, *shape), raw)
    yield "flat", Tensor(dtype, (prod(shape),), raw)
    yield "without axes", Tensor(dtype, (), raw)
    yield "of a negative length", Tensor(dtype, (*shape[:-1], -1), raw)
    yield "of minus one rows", Tensor(dtype, (-1, *shape[1:]), raw)
    for length in (2**31, 2**62, 2**63 - 1):
        yield f"of length {length}", Tensor(dtype, (*shape[:-1], length), raw)
        yield f"of {length} rows", Tensor(dtype, (length, *shape[1:]), raw)
    if dtype == "BYTES":
        for text in (b"\xff\xfe", b"\0", b"{", b"[" * 100_000, b"toy " * 5_000):
            yield f"with {text[:4]!r}", Tensor(dtype, shape, framed(text) * prod(shape))
        yield "with a length past its end", Tensor(dtype, shape, b"\xff\xff\xff\x7f" * prod(shape))
    else:
        for byte in (0xFF, 0x7F, 0x80):  # -1 or NaN, huge, and huge and negative
            yield f"of bytes {byte:02x}", Tensor(dtype, shape, bytes([byte]) * len(raw))


def unanswered(server: TritonServer) -> list[str]:
    """The odd requests that get no answer of the model they go to, of all to all models."""
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return [
            f"{model.name}, {what}: {fault}"
            for model in models_of(server, stub)
            for what, tensors in requests(model)
            if (fault := fault_of(stub, message(model.name, tensors)))
        ]


def fault_of(stub: Any, request: Any) -> str:
    """Why there is no answer, empty if there is one."""
    try:
        stub.ModelInfer(request, timeout=AT_MOST)
    except grpc.RpcError as error:
        details = error.details() or ""
        if error.code() not in ANSWERS or "not healthy" in details:
            return f"{error.code()} {details}"
    return ""


@pytest.mark.parametrize("layout", first_of(["fused", "ensemble"]))
def test_whatever_is_sent_is_answered_and_so_is_the_next_request(
    layout: Layout, tmp_path: Path
) -> None:
    write_tiny_repository(tmp_path, layout=layout)
    with TritonServer(tmp_path) as server:
        assert unanswered(server) == []
        with RecommenderClient(server.grpc_address, timeout=AT_MOST) as client:
            assert client.ready()
            assert client.rank(["i1"], [Item("i7"), "i2"]).items == ("i7", "i2")
            assert client.recommend(["i29"], top_k=2).items == ("i28", "i27")
        before = time.monotonic()
    # A request that is never released would keep the server until its time to stop is over.
    assert time.monotonic() - before < AT_MOST


def test_so_is_what_is_sent_to_a_classifier(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / "bert", labels=("no", "yes"))
    exportable = classifier(str(source), Limits(max_rows=4))
    publish(exportable, tmp_path / "models", target_named("embedded"))
    with TritonServer(tmp_path / "models") as server:
        assert unanswered(server) == []
        with RecommenderClient(server.grpc_address, timeout=AT_MOST) as client:
            assert client.classify(["toy story"]).probabilities.shape == (1, 2)


def test_a_request_that_is_no_text_is_refused_alone(tmp_path: Path) -> None:
    """Triton checks neither the id nor the parameters of what comes over HTTP."""
    write_tiny_repository(tmp_path / "models", delay_microseconds=500_000)
    log = tmp_path / "access.log", 1.0
    history = b'"inputs":[{"name":"HISTORY","shape":[1,1],"datatype":"BYTES","data":["i1"]}]'
    bodies = [
        b"{%s}" % history,
        b'{"id":"\xff",%s}' % history,
        b'{"parameters":{"x":"\xff"},%s}' % history,
        b'{"id":"good",%s}' % history,
    ]
    with (
        TritonServer(tmp_path / "models", http_port=0, access_log=log) as server,
        ThreadPoolExecutor(len(bodies)) as together,
    ):
        found = list(together.map(lambda body: posted(server, body), bodies))
    assert [status for status, _ in found] == [200, 400, 400, 200]
    assert all("is no UTF-8 text" in content for _, content in found[1:3])


def posted(server: TritonServer, body: bytes) -> tuple[int, str]:
    """Status and content of an answer over HTTP."""
    host, _, port = server.http_address.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=AT_MOST)
    connection.request("POST", "/v2/models/recommend/infer", body)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content
