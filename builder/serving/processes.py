"""The processes of a running tritonserver: which have ended, which are stopped, which work.

The Python backend runs each instance of a model in a process of its own, the *stub*, a child of
tritonserver. Triton 2.51 never starts a stub anew, and goes on saying that its model is ready.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STUB: Final = b"triton_python_backend_stub"
_SERVER: Final = "tritonserver"
# Of a task, in /proc/PID/stat: it runs or could, it waits for the disk, it was stopped, it ended.
_RUNNING, _DISK, _STOPPED, _ENDED = "R", "D", "T", "Z"
_PATIENCE: Final = {_STOPPED: 0.5, _ENDED: 1.0}
"""Seconds until a process of a server that starts counts as broken. Triton reports by itself that a
model failed, soon after its process ended, and knows the reason."""


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    model: str
    descriptor: int

    def __str__(self) -> str:
        return f"the process of {self.model} ({self.pid})" if self.model else _SERVER


class ServerProcesses:
    """Tritonserver and its stubs, as they are when this is made. Close it.

    Parameters
    ----------
    guard
        Process id of tritonserver's parent.

    Raises
    ------
    OSError
        One of them has just ended, or this process has too many open files.
    """

    def __init__(self, guard: int) -> None:
        self._poll = select.poll()
        self._processes: dict[int, _Process] = {}
        self._ticks: dict[int, int] = {}
        try:
            for server in children(guard):
                self._add(server, "")
                for model, stub in stubs(server):
                    self._add(stub, model)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in self._processes:
            os.close(descriptor)
        self._processes.clear()

    @property
    def models(self) -> frozenset[str]:
        """The models that have processes of their own."""
        return frozenset(each.model for each in self._processes.values() if each.model)

    def wait_for_end(self, seconds: float) -> dict[str, str]:
        """Wait until a process ends, at most ``seconds``; see `stopped` for what is returned."""
        ended = [self._processes[descriptor] for descriptor, _ in self._poll.poll(seconds * 1000)]
        return {each.model: f"{each} ended" for each in ended}

    def stopped(self) -> dict[str, str]:
        """What was stopped with SIGSTOP: a sentence by the model, "" for tritonserver."""
        return {
            each.model: f"{each} is stopped"
            for each in self._processes.values()
            if _STOPPED in _states(each.pid)
        }

    def working(self) -> set[str]:
        """The models whose processes did anything since the last call; "" for tritonserver.

        What runs, could run, waits for the disk or has used processor time did.
        """
        found = set()
        for descriptor, each in self._processes.items():
            ticks = _processor_ticks(each.pid)
            used = ticks != self._ticks.get(descriptor, ticks)
            self._ticks[descriptor] = ticks
            if used or {_RUNNING, _DISK} & _states(each.pid):
                found.add(each.model)
        return found

    def _add(self, pid: int, model: str) -> None:
        descriptor = os.pidfd_open(pid)
        self._processes[descriptor] = _Process(pid, model, descriptor)
        self._poll.register(descriptor, select.POLLIN)


class StartingProcesses:
    """Tritonserver and its stubs while it starts, when there are more of them every moment.

    Triton waits for a stub that ended before it said a word, and for one that is stopped.
    """

    def __init__(self, guard: int) -> None:
        self._guard = guard
        self._models: dict[int, str] = {}
        self._since: dict[tuple[int, str], float] = {}

    def broken(self) -> str:
        """Which process has ended or been stopped for some time, as a sentence; "" for none."""
        since = {}
        for server in children(self._guard):
            self._models |= {stub: model for model, stub in stubs(server)}
            for pid in (server, *children(server)):
                state = next(iter(_stat(Path(f"/proc/{pid}"))), "")
                if state in _PATIENCE:
                    since[pid, state] = self._since.get((pid, state), time.monotonic())
        self._since = since
        for (pid, state), first in since.items():
            if time.monotonic() - first > _PATIENCE[state]:
                return f"{self._name(pid)} {'ended' if state == _ENDED else 'is stopped'}"
        return ""

    def _name(self, pid: int) -> str:
        if pid in children(self._guard):
            return _SERVER
        # One that ended has no command line any more.
        return f"the process of {self._models.get(pid, 'a model')} ({pid})"


def children(pid: int) -> Iterator[int]:
    """The processes that ``pid`` has started, and those that ended and were not waited for."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            yield from map(int, (task / "children").read_text().split())


def stubs(server: int) -> Iterator[tuple[str, int]]:
    """The models whose processes a tritonserver has started, and these."""
    for child in children(server):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(_STUB):
                # .../MODEL/VERSION/model.py
                yield Path(os.fsdecode(words[1])).parent.parent.name, child


def orphans(guard: Path) -> Iterator[int]:
    """The processes that run the program ``guard`` and whose starter, their argument, was killed.

    They end their tritonserver, which takes seconds.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            places = [
                place
                for place, word in enumerate(words)
                if word.endswith(b"/" + guard.name.encode())
            ]
            if places and _stat(process)[1] != words[places[0] + 1].decode():
                yield int(process.name)


def _states(pid: int) -> set[str]:
    """The states of all threads, none of a process that is gone."""
    return {fields[0] for task in Path(f"/proc/{pid}/task").glob("*") if (fields := _stat(task))}


def _processor_ticks(pid: int) -> int:
    fields = _stat(Path(f"/proc/{pid}"))
    return int(fields[11]) + int(fields[12]) if fields else 0


def _stat(process: Path) -> list[str]:
    """The fields of /proc/PID/stat from the state on, which follows the name in brackets."""
    with contextlib.suppress(OSError):
        return (process / "stat").read_text().rpartition(")")[2].split()
    return []
