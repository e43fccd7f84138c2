"""Clients that leave, stop or do nothing, and a machine that runs out: others are served on."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import pytest

from client import RecommenderClient, RecommenderError
from perf.load import infer_request
from perf.serve import Served, served
from tests.integration.test_serving import until
from tests.integration.tiny_repository import write_tiny_repository

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
HALF_A_HEADER = b"\0\0\x40\x01\x04\0\0\0\x01" + b"\x82" * 10
INFER = "/inference.GRPCInferenceService/ModelInfer"
TIMES = 100
SLACK = 50
"""Files that a server may have open more than before."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "models"
    write_tiny_repository(path, layout="fused")
    return path


@pytest.fixture(scope="module")
def running(repository: Path) -> Iterator[Served]:
    with served(repository) as found:
        yield found


@pytest.fixture(autouse=True)
def _same_server_after(running: Served) -> Iterator[None]:
    """The server is the same one, answers right, and holds on to nothing."""
    before, files = dict(running.processes()), open_files(running)
    yield
    assert_right(running)
    assert dict(running.processes()) == before
    assert running.restarts == 0
    until(lambda: open_files(running) < files + SLACK)


def assert_right(running: Served) -> None:
    with RecommenderClient(running.address, timeout=20) as client:
        assert client.recommend(["i29"], top_k=2).items == ("i28", "i27")
        assert client.rank(["i1"], ["i7", "i2"]).items == ("i7", "i2")


def open_files(running: Served) -> int:
    return len([*Path(f"/proc/{running.processes()['tritonserver']}/fd").iterdir()])


def connect(running: Served) -> socket.socket:
    host, _, port = running.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def reset(connection: socket.socket) -> None:
    """Leave without a word: what was not read yet is refused."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [b"", PREFACE, PREFACE + SETTINGS, PREFACE + SETTINGS + HALF_A_HEADER, b"GET / HTTP/1.1\r\n"],
    ids=["nothing", "preface", "settings", "half a header", "another protocol"],
)
@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_clients_that_leave_while_they_connect(
    running: Served, sent: bytes, leave: Callable[[socket.socket], None]
) -> None:
    for _ in range(TIMES):
        connection = connect(running)
        connection.sendall(sent)
        leave(connection)


@pytest.mark.parametrize("wait", [0.0, 0.001, 0.005])
def test_clients_that_leave_before_the_answer(running: Served, wait: float) -> None:
    request = infer_request("recommend", {"HISTORY": ["i1"]})
    for _ in range(TIMES // 2):
        with grpc.insecure_channel(running.address) as channel:
            method = channel.unary_unary(INFER, None, None)
            calls = [method.future(request, timeout=10) for _ in range(4)]
            time.sleep(wait)
        assert calls


ASK_FOR_EVER = """
import sys
import grpc
from perf.load import infer_request

request = infer_request("recommend", {"HISTORY": ["i1"]})
channel = grpc.insecure_channel(sys.argv[1])
method = channel.unary_unary(sys.argv[2])
print("asking", flush=True)
while True:
    for call in [method.future(request) for _ in range(500)]:
        call.result()
"""


@pytest.mark.parametrize("ends", [signal.SIGCONT, signal.SIGKILL])
def test_a_client_that_stops_reading(running: Served, ends: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ASK_FOR_EVER, running.address, INFER],
        stdout=subprocess.PIPE,
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        for _ in range(3):
            time.sleep(0.2)
            reader.send_signal(signal.SIGSTOP)
            for _ in range(10):
                assert_right(running)
            reader.send_signal(ends)
        reader.kill()


@pytest.mark.parametrize("number", [1_000, pytest.param(9_000, marks=pytest.mark.sweep)])
def test_idle_connections(running: Served, number: int) -> None:
    with ExitStack() as held:
        for _ in range(number):
            connection = held.enter_context(connect(running))
            connection.sendall(PREFACE + SETTINGS)
        assert_right(running)


MOUNTED = 'mount -t tmpfs -o size={size}m tmpfs /dev/shm && exec "$@"'
MAY_MOUNT = (
    subprocess.run(
        ["unshare", "-m", "sh", "-c", MOUNTED.format(size=8), "sh", "true"],
        capture_output=True,
        check=False,
    ).returncode
    == 0
)


@pytest.mark.skipif(not MAY_MOUNT, reason="needs the right to mount a file system of its own")
def test_shared_memory_that_is_used_up(repository: Path) -> None:
    command = ("unshare", "-m", "sh", "-c", MOUNTED.format(size=32), "sh")
    texts = ["a " * 200_000] * 4  # more than the region that a model begins with
    with served(repository, before=command) as running:
        before = dict(running.processes())
        filler = Path(f"/proc/{before['tritonserver']}/root/dev/shm/filler")
        with RecommenderClient(running.address, timeout=20) as client:
            assert_right(running)
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 12))
            for _ in range(3):
                with pytest.raises(RecommenderError) as caught:
                    client.encode(texts)
                assert caught.value.code is not None
                assert_right(running)
            filler.unlink()
            assert len(client.encode(texts).vectors) == len(texts)
        assert dict(running.processes()) == before
