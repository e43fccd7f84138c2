"""What the supervisor makes of starts that fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder.errors import ServingError
from builder.serving import processes, supervisor
from builder.serving.processes import ServerProcesses
from builder.serving.supervisor import Supervisor

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


def test_after_the_last_try_it_is_the_reason(tmp_path: Path) -> None:
    server = Server(tmp_path, [FULL] * 9)
    running = supervised(server)
    with pytest.raises(ServingError, match=r"anew 3 times and does not work: .*Too many open"):
        running.run()
    assert server.starts == 4


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
