from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from client import (
    Cancelled,
    ClientClosed,
    Connection,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    RecommenderClient,
    RecommenderError,
    Unauthenticated,
    Unavailable,
    Unsupported,
    errors,
)
from tests.unit.client.conftest import Triton

EXPECTED = {
    "CANCELLED": Cancelled,
    "UNKNOWN": InferenceFailed,
    "INVALID_ARGUMENT": InvalidInput,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": ModelNotFound,
    "ALREADY_EXISTS": Overloaded,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": Overloaded,
    "FAILED_PRECONDITION": InferenceFailed,
    "ABORTED": InferenceFailed,
    "OUT_OF_RANGE": InvalidInput,
    "UNIMPLEMENTED": Unsupported,
    "INTERNAL": InferenceFailed,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": InferenceFailed,
    "UNAUTHENTICATED": Unauthenticated,
}
FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, RecommenderError)
]


def test_every_code_is_mapped() -> None:
    assert set(errors._BY_CODE) == set(FAILURES)


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_a_code_from_the_server_becomes_its_error(
    client: RecommenderClient, triton: Triton, code: grpc.StatusCode
) -> None:
    triton.abort = (code, "candidate 'ü' is unknown")
    with pytest.raises(RecommenderError) as caught:
        client.rank([], ["ü"])
    error = caught.value
    assert type(error) is EXPECTED[code.name]
    assert error.code is code
    assert error.details == "candidate 'ü' is unknown"
    assert isinstance(error.__cause__, grpc.RpcError)
    assert re.fullmatch(rf"{code.name}: candidate 'ü' is unknown \(.{{10,}}\)", str(error))


def test_the_class_does_not_depend_on_the_text() -> None:
    assert type(errors.map_error(grpc.StatusCode.INTERNAL, "Deadline Exceeded")) is InferenceFailed


@pytest.mark.parametrize("details", [None, ""])
def test_an_error_without_words_still_says_what_to_do(details: str | None) -> None:
    error = errors.map_error(grpc.StatusCode.UNAVAILABLE, details)
    assert error.details == ""
    assert "no details" in str(error)
    assert "check the target" in str(error)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [(InvalidInput, ValueError), (DeadlineExceeded, TimeoutError), (Unavailable, ConnectionError)],
)
def test_errors_that_python_knows_are_python_errors(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, builtin)


def test_the_docstring_draws_every_class() -> None:
    drawn = re.findall(r"(?:[├└]── |^    )(\w+)", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(kind.__name__ for kind in CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_cross_process_boundaries(kind: type[RecommenderError]) -> None:
    error = kind("what was wrong", code=grpc.StatusCode.ABORTED, details="why")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == "what was wrong"
    assert (copy.code, copy.details) == (grpc.StatusCode.ABORTED, "why")


def test_invalid_input_keeps_field_and_value_across_processes() -> None:
    copy = pickle.loads(pickle.dumps(InvalidInput.at("top_k", 0, "too few")))
    assert (copy.field, copy.value, str(copy)) == ("top_k", 0, "top_k is 0: too few")


def test_nothing_listens(nowhere: RecommenderClient) -> None:
    with pytest.raises(Unavailable, match="check the target") as caught:
        nowhere.rank([], ["a"])
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("limit", [200, 2_000], ids=["request", "response"])
def test_a_message_over_the_limit(
    triton: Triton, respond: Callable[..., Any], connect: type[RecommenderClient], limit: int
) -> None:
    long = b"\x88\x13\0\0" + b"x" * 5000
    triton.answer = lambda _: respond(ITEM=("BYTES", [1, 1], long))
    with (
        connect(
            triton.address, timeout=60, connection=Connection(max_message_bytes=limit)
        ) as client,
        pytest.raises(Overloaded, match="larger than max"),
    ):
        client.recommend(["x" * 1000])
    assert bool(triton.requests) is (limit == 2_000)


def test_a_model_that_crashes(client: RecommenderClient, triton: Triton) -> None:
    def crash(request: Any) -> None:
        raise RuntimeError(f"no answer to {request.model_name}")

    triton.answer = crash
    with pytest.raises(InferenceFailed, match=r"no answer to rank.*server's log"):
        client.rank([], ["a"])


def test_an_answer_that_is_no_message_at_all(connect: type[RecommenderClient]) -> None:
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: b"\xff garbage")
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "inference.GRPCInferenceService", {"ModelInfer": handler}
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with (
            connect(f"127.0.0.1:{port}", timeout=60) as client,
            pytest.raises(MalformedResponse, match="check that the target is a Triton server"),
        ):
            client.rank([], ["a"])
        with (
            connect(f"127.0.0.1:{port}", timeout=60) as client,
            pytest.raises(Unsupported, match="gRPC port of a Triton server"),
        ):
            client.live()
    finally:
        server.stop(grace=None).wait()


def test_errors_made_here_have_no_code() -> None:
    for kind in (MalformedResponse, ClientClosed):
        assert kind("message").code is None
