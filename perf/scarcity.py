"""A server on a machine that runs out of disk, of shared memory or of memory.

Disk and shared memory are file systems in memory that only the server's processes see, so that
nothing else runs out.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

import psutil

import perf
from client import RecommenderClient, RecommenderError, Retry
from perf.errors import PerfError
from perf.options import scratch_directory
from perf.serve import Served, served

_DISK: Final = 'mount -t tmpfs -o size="$1" tmpfs "$2" && cp -a "$3" "$2" && shift 3 && exec "$@"'
_SHARED: Final = 'mount -t tmpfs -o size="$1" tmpfs /dev/shm && shift && exec "$@"'
_SHARED_BYTES: Final = 64 << 20
_LARGE: Final = [str(number) * (1 << 20) for number in range(8)]
"""Unknown items, larger than the region of shared memory that a model begins with."""
_TOO_FEW_BYTES: Final = 1 << 20
"""Less than any process has: it gets no more than it holds."""
_TRIES: Final = 5


class CannotTryError(PerfError):
    """Nobody can make such a fault on this machine."""


def _apart(script: str, *arguments: object) -> tuple[str, ...]:
    """The words that run a command with mounts of its own."""
    return ("unshare", "--mount", "sh", "-c", script, "sh", *map(str, arguments))


@cache
def may_mount() -> bool:
    """Whether this process may mount file systems that only its children see."""
    command = (*_apart(_SHARED, _SHARED_BYTES), "true")
    with suppress(FileNotFoundError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def _need_mounts() -> None:
    if not may_mount():
        raise CannotTryError("it needs the right to mount file systems; run it as root")


@contextmanager
def on_a_small_disk(repository: Path) -> Iterator[Served]:
    """Serve a copy of ``repository`` on a disk of its own, which has room for three more."""
    _need_mounts()
    with scratch_directory() as disk:
        command = _apart(_DISK, 4 * _bytes(repository), disk, repository.resolve())
        with served(disk / repository.name, before=command) as running:
            yield running


@contextmanager
def on_small_shared_memory(repository: Path) -> Iterator[Served]:
    """Serve ``repository`` with 64 MiB of shared memory."""
    _need_mounts()
    with served(repository, before=_apart(_SHARED, _SHARED_BYTES)) as running:
        yield running


def publish_on_a_full_disk(running: Served) -> str:
    """Fill the disk so that the half of a version fits, and publish one; says what came of it.

    Raises
    ------
    PerfError
        Something of it is left, or nothing can be published when there is room again.
    """
    disk = _seen(running, running.repository.parent)
    before = _listing(disk)
    filler = disk / "filler"
    fill(filler)
    os.truncate(filler, filler.stat().st_size - _bytes(disk / running.repository.name) // 2)
    refused = _republish(running)
    filler.unlink()
    if not refused:
        raise PerfError("a version was published on a full disk")
    if left := set(_listing(disk)) ^ set(before):
        raise PerfError(f"a publication that failed has left or taken away {sorted(left)}")
    if again := _republish(running):
        raise PerfError(f"nothing can be published though there is room: {again}")
    return f"nothing was published: {refused}"


def use_up_shared_memory(running: Served) -> str:
    """Fill it, and ask for what needs more; says what came of it, with and without room.

    Raises
    ------
    PerfError
        It is answered without room, or is not with room.
    """
    filler = _seen(running, Path("/dev/shm/filler"))  # nosec B108 # Linux names it
    fill(filler)
    try:
        without = ask_large(running)
    finally:
        filler.unlink()
    after = ask_large(running)
    if without == "OK" or after != "OK":
        raise PerfError(f"a large request got {without} without room, and {after} with it")
    return f"a large request got {without}; with room again {after}"


def use_up_memory(running: Served) -> str:
    """Let the process of ``recommend`` have no more memory, and ask for what needs some."""
    process = running.processes()["recommend"]
    resource.prlimit(process, resource.RLIMIT_AS, (_TOO_FEW_BYTES, _TOO_FEW_BYTES))
    told = ask_large(running)
    for _ in range(_TRIES):
        if not _lives(process):
            break
        ask_large(running)  # where Python finds the want of memory, the model lives on
    return f"a large request got {told}"


def _lives(process: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    return False


def fill(file: Path) -> None:
    """Write until there is no room."""
    with file.open("wb", buffering=0) as writer, suppress(OSError):
        while True:
            writer.write(bytes(1 << 12))


def ask_large(running: Served) -> str:
    """Ask for what needs more shared memory than models have: "OK", or the error's code."""
    with RecommenderClient(running.address, retry=Retry(attempts=1), timeout=10) as client:
        try:
            client.recommend(_LARGE)
        except RecommenderError as error:
            return error.code.name if error.code else type(error).__name__
    return "OK"


def _republish(running: Served) -> str:
    """Publish once more what is served, as the server sees the disk; why not, "" if it worked."""
    path = str(running.repository)
    enter = ("nsenter", "--mount", f"--target={running.process.pid}")
    found = subprocess.run(
        [*enter, sys.executable, "-m", "perf.republish", path, path],
        env={**os.environ, "PYTHONPATH": str(Path(perf.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stderr.strip().removeprefix("error: ") if found.returncode else ""


def _seen(running: Served, path: Path) -> Path:
    """``path`` as the server sees it."""
    return Path(f"/proc/{running.process.pid}/root{path}")


def _listing(directory: Path) -> list[tuple[Path, int]]:
    return [(file, file.stat().st_ino) for file in sorted(directory.rglob("*"))]


def _bytes(directory: Path) -> int:
    """What the files take of a disk, whose blocks are as large as the pages of memory."""
    return sum(file.stat().st_blocks for file in directory.rglob("*")) * 512
