"""Runs a command of this project in a process of its own, and tells what it took."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perf.errors import PerfError

HERE: Final = Path(__file__).parents[1]
_EVERY: Final = 0.02  # seconds


@dataclass(frozen=True)
class Usage:
    """Seconds, seconds of CPU, and the most memory that the process held, in MiB."""

    wall: float
    cpu: float
    memory: float


def run_command(
    arguments: list[str],
    copy: Path = HERE,
    *,
    output: Path | None = None,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Usage:
    """Run ``python -m`` with `arguments`, by the code in the directory `copy`.

    Its standard output goes into the file ``output``, its standard error into ``log``; what has no
    file is dropped. ``environment`` are variables that it has beside those of this process.

    Raises
    ------
    PerfError
        It ended with another exit code than 0; carries the end of the log.
    """
    with (
        (output or Path(os.devnull)).open("wb") as stdout,
        (log or Path(os.devnull)).open("wb") as stderr,
    ):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), **(environment or {})},
            stdout=stdout,
            stderr=stderr,
        )
        try:
            memory, status, cpu = _watched(process)
        finally:
            if process.returncode is None:  # we are being stopped
                process.kill()
                process.wait()
        wall = time.perf_counter() - began
    if status:
        told = "" if log is None else ": " + log.read_text("utf-8", "replace").strip()[-1_000:]
        raise PerfError(f"`python -m {' '.join(arguments)}` ended with exit code {status}{told}")
    return Usage(wall, cpu, memory)


def _watched(process: subprocess.Popen[bytes]) -> tuple[float, int, float]:
    """Its most memory in MiB, its exit code and its seconds of CPU, once it has ended."""
    memory = 0
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        memory = max(memory, peak_memory(process.pid))
        time.sleep(_EVERY)
    _, status, used = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    return memory / 1024, process.returncode, used.ru_utime + used.ru_stime


def peak_memory(process: int) -> int:
    """The most memory of a process so far, in KiB; what `wait4` tells is also of this process."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # it has just ended
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) if found else 0
