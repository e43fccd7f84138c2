"""Clients that leave, stop or do nothing, and a machine that runs out: others are served on."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from client import RecommenderClient, RecommenderError
from perf import bad_clients, scarcity
from perf.load import INFER, infer_request
from perf.serve import Served, served
from perf.storm import Arrivals, storm
from tests.integration.test_serving import until
from tests.integration.tiny_repository import write_tiny_repository

TIMES = 50
SLACK = 50
"""Files that a server may have open more than before."""
TO_STOP = 10.0
"""Seconds. A call that is never released keeps a server for the 30 of its exit timeout."""
STAGES = bad_clients.stages()


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
    assert (running.restarts, dict(running.processes())) == (0, before), running.printed
    until(lambda: open_files(running) < files + SLACK)


def assert_right(running: Served) -> None:
    with RecommenderClient(running.address, timeout=20) as client:
        assert client.recommend(["i29"], top_k=2).items == ("i28", "i27")
        assert client.rank(["i1"], ["i7", "i2"]).items == ("i7", "i2")


def open_files(running: Served) -> int:
    return len([*Path(f"/proc/{running.processes()['tritonserver']}/fd").iterdir()])


@pytest.mark.parametrize("sent", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("way", bad_clients.LEAVE)
def test_clients_that_leave_at_every_stage(
    running: Served, sent: bytes, way: Callable[[socket.socket], None]
) -> None:
    bad_clients.leave(running.address, sent, way, TIMES)


@pytest.mark.sweep
def test_clients_that_read_no_answer(running: Served) -> None:
    with bad_clients.deaf(running.address, TIMES) as connections:
        assert_right(running)
        # The server has answered, as far as a client lets it that says nothing of what it read.
        connections[0].settimeout(1)
        assert 1 << 16 <= len(received(connections[0])) < 66_000
        assert_right(running)


def received(connection: socket.socket) -> bytes:
    """All that comes until nothing does any more."""
    got = b""
    with suppress(TimeoutError):
        while new := connection.recv(1 << 16):
            got += new
    return got


@pytest.mark.parametrize(
    ("wait", "times"),
    [
        (0.0, TIMES),
        (0.001, TIMES),
        (0.005, TIMES),
        pytest.param(0.0, 3_000, marks=pytest.mark.sweep),
    ],
)
def test_clients_that_leave_before_the_answer(running: Served, wait: float, times: int) -> None:
    request = infer_request("recommend", {"HISTORY": ["i1"]})
    for _ in range(times):
        with grpc.insecure_channel(running.address) as channel:
            method = channel.unary_unary(INFER, None, None)
            calls = [method.future(request, timeout=10) for _ in range(4)]
            time.sleep(wait)
        assert calls


@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=pytest.mark.sweep)])
def test_callers_whose_deadlines_pass(repository: Path, seconds: float) -> None:
    request = infer_request("recommend", {"HISTORY": ["i1"]})
    with served(repository) as running:
        before = dict(running.processes())
        (found,) = storm(running.address, [Arrivals([request], 0.003, callers=8)], seconds)
        assert found.ends["DEADLINE_EXCEEDED"] > 10
        assert_right(running)
        assert dict(running.processes()) == before, running.printed
        began = time.monotonic()
        running.end()
        assert time.monotonic() - began < TO_STOP
    assert "Exit timeout expired" not in running.printed


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


@pytest.mark.parametrize("number", [1_000, pytest.param(10_000, marks=pytest.mark.sweep)])
def test_idle_connections(running: Served, number: int) -> None:
    with bad_clients.idle(running.address, number) as held:
        assert held == number
        assert_right(running)


def test_idle_connections_where_processes_may_open_few_files(repository: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (
        served(repository, before=("prlimit", f"--nofile=512:{hard}")) as running,
        bad_clients.idle(running.address, 1_000) as held,
    ):
        assert held == 1_000
        assert_right(running)


@pytest.mark.skipif(not scarcity.may_mount(), reason="needs the right to mount file systems")
def test_shared_memory_that_is_used_up(repository: Path) -> None:
    texts = ["a " * 200_000] * 4  # more than the region that a model begins with
    with scarcity.on_small_shared_memory(repository) as running:
        before = dict(running.processes())
        filler = Path(f"/proc/{before['tritonserver']}/root/dev/shm/filler")
        with RecommenderClient(running.address, timeout=20) as client:
            assert_right(running)
            scarcity.fill(filler)
            for _ in range(3):
                with pytest.raises(RecommenderError) as caught:
                    client.encode(texts)
                assert caught.value.code is not None
                assert_right(running)
            filler.unlink()
            assert len(client.encode(texts).vectors) == len(texts)
        assert dict(running.processes()) == before
