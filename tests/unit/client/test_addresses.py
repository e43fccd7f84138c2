"""Where a client asks: every form of a target, and what `status` says of each server."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from client import InvalidInput, RecommenderClient
from client.__main__ import main
from client.testing import FakeServer
from tests.unit.client.conftest import Triton, dead_port


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["a"]) as running:
        yield running


@pytest.mark.parametrize(
    ("target", "read"),
    [
        ("localhost:9001", "localhost:9001"),
        ("localhost", "localhost:8001"),
        ("Triton-A.prod.:08001", "Triton-A.prod.:8001"),
        ("my_triton:1", "my_triton:1"),
        ("bücher.example:1", "xn--bcher-kva.example:1"),
        ("10.0.0.1", "10.0.0.1:8001"),
        ("grpc://host:1", "host:1"),
        ("GRPC://host/", "host:8001"),
        ("grpc://[::1]:1", "[::1]:1"),
        ("[::1]:8001", "[::1]:8001"),
        ("[::1]", "[::1]:8001"),
        ("::1", "[::1]:8001"),
        ("2001:db8::a", "[2001:db8::a]:8001"),
        ("2001:db8:0:0:0:0:0:1", "[2001:db8:0:0:0:0:0:1]:8001"),
        ("fe80::1%eth0", "[fe80::1%eth0]:8001"),
        ("dns:///host", "dns:///host:8001"),
        ("dns:///[::1]:1", "dns:///[::1]:1"),
        ("dns:///dns:8001", "dns:///dns:8001"),
        ("dns:host:1", "dns:host:1"),
        ("dns://10.0.0.53/host:1", "dns://10.0.0.53:53/host:1"),
        ("ipv4:10.0.0.1:1,10.0.0.2", "ipv4:10.0.0.1:1,10.0.0.2:8001"),
        ("ipv6:[::1]:1", "ipv6:[::1]:1"),
        ("unix:/run/triton.sock", "unix:/run/triton.sock"),
        ("unix:///run/triton.sock", "unix:///run/triton.sock"),
        ("xds:///triton", "xds:///triton"),
    ],
)
def test_a_target_is_read(target: str, read: str, connect: type[RecommenderClient]) -> None:
    with connect(target) as client:
        assert repr(client).partition("(")[2].startswith(f"{read!r},")


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("", "pass host:port, such as"),
        (None, "pass "),
        (8001, "pass "),
        ("http://localhost:8000", "gRPC port (8001 by default)"),
        ("https://a:1", "and tls=Tls()"),
        ("tcp://a:1", "tcp:// is not known; pass host:port"),
        ("localhost:80010", "the port is '80010', and must be a number from 1 to 65535; pass host"),
        ("localhost:0", "the port is '0'"),
        ("localhost:", "the port is ''"),
        ("localhost:http", "the port is 'http'"),
        ("grpc://host:1/path", "the port is '1/path'"),
        (":8001", "no host before the port; pass host:port"),
        ("grpc://", "no host before the port"),
        (" localhost:8001", "spaces in it; pass host:port"),
        ("local host", "spaces in it"),
        ("localhost:8001\n", "spaces in it"),
        ("a:1,b:2", "pass several servers as a list"),
        ("a,b", "pass several servers as a list"),
        ("user@host:1", "no host has this name"),
        ("a..b:1", "no host has this name"),
        ("-a:1", "no host has this name"),
        ("8001", "no IPv4 address"),
        ("10.1:8001", "no IPv4 address"),
        ("256.0.0.1:1", "no IPv4 address"),
        ("::1:8001", "pass '[::1:8001]:8001' or '[::1]:8001'"),
        ("1:2:3:4:5:6:7:8:8001", "pass an IPv6 address in brackets, '[1:2:3:4:5:6:7:8]:8001'"),
        ("a:b:c", "pass an IPv6 address in brackets"),
        ("[::1", "pass '[::1]:8001'"),
        ("[::1]8001", "pass '[::1]:8001'"),
        ("[localhost]:1", "pass '[::1]:8001'"),
        ("dns:///", "pass dns:///name:port"),
        ("dns:///:80", "pass dns:///name:port"),
        ("dns:///host:port", "pass dns:///name:port"),
        ("dns://host:1", "pass dns:///name:port"),
        ("dns:8001", "a host called dns is dns:///dns:8001"),
        ("ipv4:localhost:1", "pass 'ipv4:10.0.0.1:8001'"),
        ("ipv4:[::1]:1", "pass 'ipv4:10.0.0.1:8001'"),
        ("ipv6:10.0.0.1:1", "pass 'ipv6:[::1]:8001'"),
        ("unix:", "nothing follows unix:"),
    ],
)
def test_a_target_that_is_none_says_how_to_write_it(target: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(problem)) as caught:
        RecommenderClient(target)
    assert "pass " in str(caught.value)
    with pytest.raises(InvalidInput) as caught:
        RecommenderClient(["localhost:8001", target])
    assert caught.value.field == "targets[1]"


def test_every_form_of_a_target_reaches_the_server(
    tmp_path: Path, connect: type[RecommenderClient]
) -> None:
    with FakeServer(["a"]) as server:
        port = server.address.rpartition(":")[2]
        targets = ["localhost:{}", "grpc://localhost:{}", "dns:///localhost:{}", "dns:localhost:{}"]
        if socket.has_ipv6:
            targets += ["[::1]:{}", "ipv6:[::1]:{}"]
        for target in (*targets, "127.0.0.1:{}", "ipv4:127.0.0.1:1,127.0.0.1:{}"):
            with connect(target.format(port), timeout=60) as client:
                assert client.live() is True, target
    behind = grpc.server(ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Triton(), behind)
    behind.add_insecure_port(f"unix:{tmp_path}/socket")
    behind.start()
    for target in (f"unix:{tmp_path}/socket", f"unix://{tmp_path}/socket"):
        with connect(target, timeout=60) as client:
            assert client.live() is True
    behind.stop(None).wait()


def test_no_target() -> None:
    with pytest.raises(InvalidInput, match="at least one server"):
        RecommenderClient([])


# python -m client status


def test_status_says_why_a_server_is_not_live(capsys: pytest.CaptureFixture[str]) -> None:
    target = f"127.0.0.1:{dead_port()}"
    assert main(["status", "--target", target]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["live   no", "ready  no"]
    assert lines[2].startswith(f"why    {target}: UNAVAILABLE: failed to connect")
    assert main(["status", "--target", target, "--json"]) == 1
    (server,) = json.loads(capsys.readouterr().out)["servers"]
    assert (server["server"], server["live"], server["ready"]) == (target, False, False)
    assert "Connection refused" in server["reason"]


def test_status_says_why_a_server_is_not_ready(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.set_ready(False)
    dead = f"127.0.0.1:{dead_port()}"
    assert main(["status", "--target", server.address, "--target", dead, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["live"], found["ready"]) == (True, False)
    assert found["servers"][0]["reason"] == "the model rank is not ready"
    assert "Connection refused" in found["servers"][1]["reason"]
    server.set_ready(True)
    assert main(["status", "--target", server.address]) == 0
    assert "why" not in capsys.readouterr().out


def test_status_says_that_a_name_is_not_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any, **__: Any) -> Any:
        raise socket.gaierror("not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    assert main(["status", "--target", "dns:///nowhere.example", "--json"]) == 1
    (server,) = json.loads(capsys.readouterr().out)["servers"]
    assert server["server"] == "dns:///nowhere.example:8001"
    assert "no address was found for nowhere.example" in server["reason"]
