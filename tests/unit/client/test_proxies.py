"""Proxies of the environment: what goes through them, what does not, and what errors say."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from client import DeadlineExceeded, RecommenderClient, Retry, Unavailable
from client._proxies import proxy_between
from client.testing import FakeServer
from tests.unit.client.conftest import dead_port

PATIENT = 60
ONCE = Retry(attempts=1)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["a"]) as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("target", "excluded", "direct"),
    [
        *(
            (target, "localhost", True)
            for target in ("localhost:{}", "dns:///localhost:{}", "grpc://localhost:{}",
                           "dns:localhost:{}")
        ),
        ("dns:///localhost:{}", "other, .LOCALHOST ", True),
        ("x.localhost:{}", "*.localhost", True),
        ("dns:///localhost:{}", "ocalhost", False),
        ("dns:///localhost:{}", "", False),
        ("dns:///localhost:{}", "127.0.0.0/8,::1", True),
        ("localhost:{}", "127.0.0.1,::1", False),
        ("localhost:{}", "*", True),
        ("127.0.0.1:{}", "127.0.0.1", True),
        ("ipv4:127.0.0.1:{}", "127.0.0.1", True),
        ("[::1]:{}", "::1", True),
    ],
)  # fmt: skip
def test_a_server_that_the_environment_excludes_is_asked_directly(
    target: str, excluded: str, direct: bool, server: FakeServer,
    connect: type[RecommenderClient], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    port = server.address.rpartition(":")[2]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{dead_port()}")
    monkeypatch.setenv("no_proxy", excluded)
    with connect(target.format(port), timeout=PATIENT, retry=ONCE) as client:
        if direct:
            assert [each.id for each in client.recommend([])] == ["a"]
        else:
            with pytest.raises(Unavailable, match="http_proxy of the environment"):
                client.recommend([])


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_an_error_names_the_proxy_and_keeps_its_password(
    variable: str, server: FakeServer, connect: type[RecommenderClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    proxy = f"127.0.0.1:{dead_port()}"
    monkeypatch.setenv(variable, f"http://me:secret@{proxy}")
    with connect(server.address, timeout=PATIENT, retry=ONCE) as client:
        with pytest.raises(Unavailable) as caught:
            client.recommend([])
        assert (
            f"{variable} of the environment sends this through the proxy http://{proxy}; no_proxy "
            "is for servers that are asked directly"
        ) in str(caught.value)
        assert "secret" not in str(caught.value)


def test_a_proxy_that_says_nothing_is_named_too(
    server: FakeServer, connect: type[RecommenderClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with (
            connect(server.address, timeout=0.3) as client,
            pytest.raises(DeadlineExceeded, match="through the proxy"),
        ):
            client.recommend([])


def test_an_error_of_a_server_that_was_asked_directly_names_no_proxy(
    connect: type[RecommenderClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localhost")
    with (
        connect(f"dns:///localhost:{dead_port()}", timeout=PATIENT, retry=ONCE) as client,
        pytest.raises(Unavailable) as caught,
    ):
        client.recommend([])
    assert "proxy" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"http_proxy": "p:1"}, None),
        ({"http_proxy": "https://p:1"}, None),
        ({"http_proxy": "http://p:1", "grpc_proxy": ""}, None),
        ({"http_proxy": "http://p:1", "https_proxy": "http://q:1"}, "https_proxy"),
        ({"http_proxy": "http://p:1", "no_grpc_proxy": "", "no_proxy": "*"}, "http_proxy"),
        ({"http_proxy": "http://p:1", "NO_PROXY": "host"}, None),
    ],
)
def test_the_variables_are_read_as_grpc_reads_them(
    environment: dict[str, str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = proxy_between("host:8001", None)
    assert (proxy and proxy.variable) == found
    assert proxy_between("unix:/run/socket", None) is None
