"""Deadlines, readiness, closing, threads, and what importing the client costs."""

from __future__ import annotations

import ast
import inspect
import math
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

import client as package
from client import (
    DEFAULT_TIMEOUT,
    NOT_GIVEN,
    AsyncRecommenderClient,
    ClientClosed,
    DeadlineExceeded,
    InvalidInput,
    PermissionDenied,
    RecommenderClient,
)
from client._deadlines import Deadline
from tests.unit.client.conftest import Triton

PREFIX = package.__name__.removesuffix("client")
"""`tritonrec.` where the tests are of an installation."""

CALLS = {
    "rank": lambda client, **options: client.rank(["50"], ["1"], **options),
    "recommend": lambda client, **options: client.recommend(["50"], **options),
    "encode": lambda client, **options: client.encode(["text"], **options),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_slow_answer_ends_at_the_deadline(
    client: RecommenderClient, triton: Triton, call: Callable[..., object]
) -> None:
    triton.hang = True
    with pytest.raises(DeadlineExceeded, match="longer timeout=") as caught:
        call(client, timeout=0.05)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("timeout", [-1, -0.5])
def test_a_deadline_that_passed_already(
    client: RecommenderClient, triton: Triton, timeout: float
) -> None:
    with pytest.raises(DeadlineExceeded):
        client.rank([], ["a"], timeout=timeout)
    assert not triton.requests


def test_the_default_deadline_is_finite_and_reaches_the_server(triton: Triton) -> None:
    assert math.isfinite(DEFAULT_TIMEOUT)
    with RecommenderClient(triton.address) as client:
        client.live()
    (left,) = triton.time_remaining
    assert left is not None
    assert 0 < left <= DEFAULT_TIMEOUT * 1.1


def test_a_deadline_runs_down() -> None:
    deadline = Deadline.after(NOT_GIVEN, default=10)
    first, second = deadline.left(), deadline.left()
    assert first is not None
    assert second is not None
    assert second <= first <= 10
    assert Deadline.after(None, default=10).left() is None


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_timeout_is_the_calls_own_else_the_clients_and_none_is_none(
    triton: Triton, call: Callable[..., object]
) -> None:
    with RecommenderClient(triton.address, timeout=1000) as client:
        call(client)
        call(client, timeout=NOT_GIVEN)
        call(client, timeout=500)
        call(client, timeout=None)
    *limited, last = triton.time_remaining
    for left, timeout in zip(limited, [1000, 1000, 500], strict=True):
        assert left is not None
        # gRPC rounds a long timeout up to what its header can say in a few digits.
        assert timeout - 400 < left < timeout * 1.1
    assert unlimited(last)


def test_a_client_may_have_no_deadline(triton: Triton) -> None:
    with RecommenderClient(triton.address, timeout=None) as client:
        client.rank([], ["a"])
    assert unlimited(triton.time_remaining[0])


def unlimited(left: float | None) -> bool:
    return left is None or left > 1e9


def test_ready_lets_every_model_answer(client: RecommenderClient, triton: Triton) -> None:
    assert client.ready() is True
    assert [each.model_name for each in triton.requests] == ["rank", "recommend", "encode"]
    assert client.ready(models=["classify", "another"]) is True
    assert [each.model_name for each in triton.requests[3:]] == ["classify"]


@pytest.mark.parametrize(
    ("code", "ready"),
    [
        (grpc.StatusCode.INTERNAL, False),  # its process is dead, and Triton says that it is ready
        (grpc.StatusCode.UNAVAILABLE, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, True),  # who turns away a request is there
        (grpc.StatusCode.INVALID_ARGUMENT, True),
    ],
)
def test_a_model_that_does_not_answer_is_not_ready(
    client: RecommenderClient, triton: Triton, code: grpc.StatusCode, ready: bool
) -> None:
    triton.refuse = (code, "as told")
    assert client.ready() is ready
    assert client.live() is True


@pytest.mark.parametrize("model", ["rank", "recommend", "encode"])
def test_one_ensemble_that_is_not_ready(
    client: RecommenderClient, triton: Triton, model: str
) -> None:
    triton.not_ready.add(model)
    assert client.ready() is False
    assert client.live() is True


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND])
def test_a_server_that_says_no_is_not_ready(
    client: RecommenderClient, triton: Triton, code: grpc.StatusCode
) -> None:
    triton.abort = (code, "no")
    assert client.ready() is False


def test_nothing_there_is_neither_ready_nor_live(nowhere: RecommenderClient) -> None:
    assert nowhere.ready() is False
    assert nowhere.live() is False


def test_silence_is_neither_ready_nor_live(client: RecommenderClient, triton: Triton) -> None:
    triton.hang = True
    assert client.ready(timeout=0.05) is False
    assert client.live(timeout=0.05) is False


def test_a_refusal_is_no_answer_to_ready(client: RecommenderClient, triton: Triton) -> None:
    triton.abort = (grpc.StatusCode.PERMISSION_DENIED, "not you")
    with pytest.raises(PermissionDenied):
        client.ready()
    with pytest.raises(PermissionDenied):
        client.live()


def test_a_closed_client_says_so(triton: Triton) -> None:
    with RecommenderClient(triton.address) as client:
        pass
    client.close()
    for call in (*CALLS.values(), RecommenderClient.ready, RecommenderClient.live):
        with pytest.raises(ClientClosed, match="make a new one"):
            call(client)


def test_closing_ends_a_call_under_way(triton: Triton) -> None:
    triton.hang = True
    client = RecommenderClient(triton.address, timeout=60)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.rank, [], ["a"])
        assert triton.arrived.wait(60)
        client.close()
        with pytest.raises(ClientClosed):
            call.result(timeout=60)


def test_threads_share_a_client(client: RecommenderClient) -> None:
    def rank(number: int) -> bool:
        ids = [f"{number}-{i}" for i in range(number)]
        return list(client.rank([], ids).items) == ids

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(rank, range(100)))


def test_a_server_that_comes_later_is_found(triton: Triton) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    with RecommenderClient(f"127.0.0.1:{port}", timeout=60) as client:
        assert client.live() is False
        server = grpc.server(ThreadPoolExecutor(1))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
        assert server.add_insecure_port(f"127.0.0.1:{port}") == port
        server.start()
        try:
            end = time.monotonic() + 60
            while not client.live():
                assert time.monotonic() < end
                time.sleep(0.05)
            assert client.ready() is True
        finally:
            server.stop(grace=None).wait()


def test_repr_says_where_and_how_long() -> None:
    assert (
        repr(RecommenderClient("host:1", timeout=2)) == "RecommenderClient('host:1', timeout=2.0)"
    )
    assert repr(NOT_GIVEN) == "NOT_GIVEN"


def test_all_is_what_is_there() -> None:
    assert package.__all__ == sorted(package.__all__, key=lambda n: (not n.isupper(), n))
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and name != "annotations" and not isinstance(value, type(sys))
    }
    assert set(package.__all__) == public


def module_of(name: str) -> str:
    """Name of the package, which within an installation lies under another one."""
    ours = name == package.__name__ or name.startswith(f"{package.__name__}.")
    return package.__name__ if ours else name.partition(".")[0]


def test_importing_pulls_in_neither_torch_nor_the_rest_of_us() -> None:
    script = f"""
import sys, {package.__name__}
heavy = {{"torch", "transformers", "onnxruntime", "tokenizers", "pandas", "{PREFIX}builder"}}
print(sorted(heavy & {{*sys.modules, *(name.partition(".")[0] for name in sys.modules)}}))
print(sorted(name for name in sys.modules if name.startswith("{PREFIX}model_repository")))
"""
    root = Path(package.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    contract = [f"{PREFIX}model_repository{each}" for each in ("", ".core", ".core.contract")]
    assert done.stdout.splitlines() == ["[]", str(contract)]


def test_the_package_imports_itself_the_contract_numpy_and_grpc_only() -> None:
    allowed = {package.__name__, "numpy", "grpc", "google", "tritonclient"}
    allowed |= sys.stdlib_module_names
    for path in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [f"{node.module or ''}.{alias.name}" for alias in node.names]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            extra = {"otel.py": {"opentelemetry"}, "_commands.py": {"typer"}}.get(path.name, set())
            contract = re.compile(rf"{PREFIX}model_repository\.core\.contract\b")
            others = [name for name in names if not contract.match(name)]
            assert {module_of(name) for name in others} <= allowed | extra, path


def test_tritonclient_is_known_to_the_modules_of_its_messages() -> None:
    knowing = [
        path.name
        for path in Path(package.__file__).parent.glob("*.py")
        if "import" in path.read_text() and "from tritonclient" in path.read_text()
    ]
    assert sorted(knowing) == ["_decoding.py", "_protocol.py", "testing.py"]


METHODS = sorted(
    name for name, value in vars(RecommenderClient).items() if name[0] != "_" and callable(value)
)


def test_both_clients_have_the_same_methods() -> None:
    assert {name for name, value in vars(AsyncRecommenderClient).items() if name[0] != "_"} == set(
        METHODS
    )
    assert {
        *("rank", "recommend", "observe", "encode", "classify", "rank_many", "recommend_many"),
        *("related", "related_many"),
        *("ready", "live", "metadata", "statistics", "close"),
    } == set(METHODS)


@pytest.mark.parametrize("method", ["__init__", *METHODS])
def test_both_clients_take_the_same_arguments(method: str) -> None:
    blocking, asyncio = (
        inspect.signature(getattr(kind, method))
        for kind in (RecommenderClient, AsyncRecommenderClient)
    )

    def plain(parameter: inspect.Parameter) -> str:
        return re.sub(
            r"^Iterable\[(.*)\] \| AsyncIterable\[\1\]$", r"Iterable[\1]", str(parameter.annotation)
        )

    assert [
        (each.name, each.kind, each.default, str(each.annotation))
        for each in blocking.parameters.values()
    ] == [(each.name, each.kind, each.default, plain(each)) for each in asyncio.parameters.values()]
    assert str(asyncio.return_annotation).replace("AsyncIterator", "Iterator") == str(
        blocking.return_annotation
    )


@pytest.mark.parametrize("method", [name for name in METHODS if name != "close"])
def test_a_method_is_documented_and_returns_what_its_signature_says(method: str) -> None:
    blocking, awaited = getattr(RecommenderClient, method), getattr(AsyncRecommenderClient, method)
    assert blocking.__name__ == awaited.__name__ == method
    assert blocking.__doc__ == awaited.__doc__ != ""
    for each in (blocking, awaited):
        shown = str(inspect.signature(each))
        assert shown.startswith(("(self, ", "(self) "))
        assert "Plan" not in shown
        assert "Many" not in shown
    assert inspect.iscoroutinefunction(awaited) is not method.endswith("_many")


def test_it_is_typed() -> None:
    assert (Path(package.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"retry": None}, "retry"),
        ({"retry": 3}, "retry"),
        ({"hedge": 0.1}, "hedge"),
        ({"balancing": None}, "balancing"),
        ({"connection": None}, "connection"),
        ({"tls": "ca.pem"}, "tls"),
        ({"on_response": 5}, "on_response"),
        ({"observers": [5]}, "observers"),
    ],
)
def test_what_is_no_policy_is_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=f"{field} is .*: pass ") as caught:
        RecommenderClient("localhost:1", **arguments)
    assert caught.value.field == field
