"""``python -m builder serve`` as a process of its own, seen from outside."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import builder
from builder.serving.processes import children, stubs
from perf.errors import PerfError

_ROOT: Final = Path(builder.__file__).parents[1]
_START: Final = 60.0  # seconds
_STARTED: Final = "Press Ctrl-C"


class Served:
    """A ``serve`` that runs, with what it printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed = ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._ready.wait(_START)
        if _STARTED not in self.printed:  # of one that ended, its exit may not be known yet
            self.end()
            raise PerfError(f"serve did not start:\n{self.printed.strip()}")

    @property
    def address(self) -> str:
        """Of the gRPC port."""
        return self._printed_after("gRPC ")

    @property
    def repository(self) -> Path:
        """As this server sees it."""
        return Path(self._printed_after("Serving"))

    def get(self, path: str) -> tuple[int, str]:
        """Ask the health port: status and text."""
        where = self._printed_after("health ").replace("/ready", path)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(where, timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    @property
    def restarts(self) -> int:
        """How often it has started its server anew."""
        found = re.search(r"^tritonrec_restarts (\d+)$", self.get("/metrics")[1], re.MULTILINE)
        assert found is not None
        return int(found[1])

    def processes(self) -> Mapping[str, int]:
        """Process ids: of "guard", "tritonserver", and each model by its name."""
        (guard,) = children(self.process.pid)
        (triton,) = children(guard)
        return {"guard": guard, "tritonserver": triton, **dict(stubs(triton))}

    def identity(self) -> str:
        """What marks everything of the tritonserver that runs."""
        command = Path(f"/proc/{self.processes()['tritonserver']}/cmdline").read_text()
        found = re.search(r"--id=([^\0]+)", command)
        assert found is not None
        return found[1]

    def end(self) -> int:
        """Ask it to stop, and return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if _STARTED in line:
                self._ready.set()
        self._ready.set()

    def _printed_after(self, word: str) -> str:
        found = re.search(rf"{word} +(\S+)", self.printed)
        if found is None:
            raise PerfError(f"serve did not say where it is:\n{self.printed.strip()}")
        return found[1]


def start_serve(
    repository: Path, *options: str, before: Sequence[str] = (), output: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start it on free ports; words ``before`` its command run it in a surrounding of their own.

    ``output`` is the file descriptor that it prints to.
    """
    ports = (f"--{name}-port=0" for name in ("grpc", "http", "metrics", "health"))
    return subprocess.Popen(
        [
            *before,
            sys.executable,
            "-m",
            "builder",
            "serve",
            f"--repository={repository.resolve()}",
            *ports,
            *options,
        ],
        cwd=_ROOT,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def served(repository: Path, *options: str, before: Sequence[str] = ()) -> Iterator[Served]:
    """Serve until the block ends; see `start_serve`."""
    with start_serve(repository, *options, before=before) as process:
        running = Served(process)
        try:
            yield running
        finally:
            running.end()
