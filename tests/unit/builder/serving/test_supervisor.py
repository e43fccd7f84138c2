"""What the supervisor makes of starts that fail, and of a stop while it starts."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder.errors import ServingError
from builder.repository import integrity, manifest
from builder.repository.integrity import damages
from builder.repository.manifest import sha256_of
from builder.serving import processes, supervisor
from builder.serving.processes import ServerProcesses
from builder.serving.supervisor import Supervisor
from tests.unit.builder.doctor.repositories import publish

FULL = OSError(errno.EMFILE, "Too many open files", "/tmp/tritonrec-1")


class Server:
    """Starts as often as it is asked to, but for the faults that come first."""

    def __init__(self, repository: Path, faults: Sequence[Exception] = ()) -> None:
        self.repository = repository
        self.faults = list(faults)
        self.starts = 0
        self.running = False

    def start(self) -> None:
        self.starts += 1
        if self.faults:
            raise self.faults.pop(0)
        self.running = True

    def kill(self) -> None:
        self.running = False

    def request_stop(self) -> None:
        pass


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Supervisor]:
    """A server that is watched works, until the supervisors in this list are asked to stop."""
    ends: list[Supervisor] = []

    def step() -> str:
        for each in ends:
            each.request_stop()
        return ""

    watch = SimpleNamespace(silent=[], states={}, step=step, close=lambda: None)
    monkeypatch.setattr(supervisor, "Watch", lambda *_: watch)
    monkeypatch.setattr(supervisor, "_PAUSES", (0.0, 0.0, 0.0))
    return ends


def supervised(server: Server) -> Supervisor:
    made: Any = server
    return Supervisor(made)


def test_what_the_system_refuses_is_a_failed_start(
    tmp_path: Path, watched: list[Supervisor]
) -> None:
    server = Server(tmp_path, [FULL, ServingError("it ended"), FULL])
    running = supervised(server)
    watched.append(running)
    running.run()
    assert server.starts == 4
    assert running.health.restarts == 3


def test_a_server_that_cannot_be_looked_at_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = supervised(server := Server(tmp_path))
    looks: list[str] = []

    def step() -> str:
        looks.append("look")
        if len(looks) <= 3:
            assert running.health.seen == before  # so that /live tells of it if it lasts
            raise FULL
        if len(looks) == 5:
            running.request_stop()
        return ""

    watch = SimpleNamespace(silent=[], states={}, step=step, close=lambda: None)
    monkeypatch.setattr(supervisor, "Watch", lambda *_: watch)
    monkeypatch.setattr(supervisor, "TICK", 0.0)
    running.start()
    before = running.health.seen
    with caplog.at_level(logging.INFO):
        running.run()
    assert (server.starts, running.health.restarts, len(looks)) == (1, 0, 5)
    assert running.health.seen > before
    told = [record.getMessage() for record in caplog.records]
    again = "the server is watched again"
    assert told[-2:] == [f"the server cannot be watched for now: {FULL}", again]


def test_after_the_last_try_it_is_the_reason(tmp_path: Path) -> None:
    server = Server(tmp_path, [FULL] * 9)
    running = supervised(server)
    with pytest.raises(ServingError, match=r"anew 3 times and does not work: .*Too many open"):
        running.run()
    assert server.starts == 4


def test_a_stop_while_it_hashes_is_heeded_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "models")
    server = Server(tmp_path / "models")
    running = supervised(server)
    read: list[Path] = []

    def digest(file: Path, meanwhile: Callable[[], object]) -> str:
        read.append(file)
        running.request_stop()
        return sha256_of(file, meanwhile)

    monkeypatch.setattr(integrity, "sha256_of", digest)
    with pytest.raises(ServingError, match="asked to stop"):
        running.start()
    assert len(read) == 1  # and not to its end, let alone the next
    assert server.starts == 0


def test_a_stop_after_the_last_hash_is_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    running = supervised(server)
    monkeypatch.setattr(supervisor._logger, "warning", lambda *_: running.request_stop())
    with pytest.raises(ServingError, match="asked to stop"):
        running.start()
    assert server.starts == 0


def test_a_file_is_read_no_further_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "_CHUNK", 2)
    file = tmp_path / "file"
    file.write_bytes(b"123456")
    chunks: list[None] = []
    expected = hashlib.sha256(b"123456").hexdigest()
    assert list(damages({file: expected}, lambda: chunks.append(None))) == []
    assert len(chunks) == 3


def test_processes_that_cannot_all_be_watched_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def pidfd_open(pid: int) -> int:
        if opened:
            raise FULL
        opened.append(os.open(f"/proc/{pid}", os.O_PATH))
        return opened[-1]

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    monkeypatch.setattr(processes, "children", lambda _: [os.getpid()] * 2)
    monkeypatch.setattr(processes, "stubs", lambda _: [])
    with pytest.raises(OSError, match="Too many open files"):
        ServerProcesses(1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
