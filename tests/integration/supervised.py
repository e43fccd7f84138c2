"""``python -m builder serve`` as a process of its own, and a model that breaks as it is told."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from builder.repository import DynamicBatching, stage, step_config
from builder.repository.golden import DETAIL, GoldenOutput, GoldenRequest, golden_to_json
from model_repository.core.contract import CANDIDATE, HISTORY, LOGIT, RANK

ROOT = Path(__file__).parents[2]

# LOGIT is 1 for each candidate. What the first of them says happens before the answer.
BREAKABLE = """
import os, time

import numpy as np
import triton_python_backend_utils as pb_utils

logit = 1.0


class TritonPythonModel:
    def initialize(self, args):
        global logit
        {initialize}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        global logit
        given = pb_utils.get_input_tensor_by_name(request, "CANDIDATE").as_numpy()
        candidates = given.reshape(1, -1)
        first = bytes(candidates[0, 0]) if candidates.size else b""
        if first == b"die":
            os._exit(3)
        if first == b"out of memory":
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))
            while True:
                import ctypes
                ctypes.memset(ctypes.CDLL(None).malloc(1 << 30) or 0, 0, 1)
        if first == b"hang":
            time.sleep(3600)
        if first.startswith(b"work "):
            end = time.monotonic() + float(first[5:])
            while time.monotonic() < end:
                pass
        if first == b"wrong":
            logit = 2.0
        tensors = dict(
            INTEREST=np.full(candidates.shape, 0.5, np.float32),
            LOGIT=np.full(candidates.shape, logit, np.float32),
            SKIPPED=np.zeros((1, 1), np.int32),
            TRUNCATED=np.zeros((1, 1), np.int32),
        )
        return pb_utils.InferenceResponse([pb_utils.Tensor(*each) for each in tensors.items()])
"""


def publish_breakable(
    repository: Path, *, initialize: str = "pass", logit: float = 1.0, golden: bool = True
) -> None:
    """Publish ``rank`` as `BREAKABLE`, whose golden answer is ``logit``.

    ``initialize`` is a statement for when the model loads.
    """
    request = GoldenRequest(
        RANK.name,
        {HISTORY.name: [["a"]], CANDIDATE.name: [["b", "c"]]},
        {LOGIT.name: GoldenOutput((1, 2), (logit, logit))},
    )
    with stage(repository) as staging:
        staging.target, staging.checkpoint = "embedded", "none"
        staging.write_config(
            step_config(
                RANK,
                backend="python",
                version=staging.version,
                sizes={},
                max_batch_size=4,
                batching=DynamicBatching(0, ragged=True),
            )
        )
        code = BREAKABLE.format(initialize=initialize)
        (staging.model_dir(RANK.name) / "model.py").write_text(code)
        staging.details = {"sha256": staging.hashes()}
        if golden:
            staging.details[DETAIL] = golden_to_json([request])


class Served:
    """A ``serve`` that runs, with what it printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed = ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._ready.wait(60) or process.poll() is not None:
            self.end()
            raise AssertionError(self.printed)

    @property
    def address(self) -> str:
        """Of the gRPC port."""
        return self._printed_after("gRPC ")

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
        found = re.search(r"^tritonrec_restarts (\d+)$", self.get("/metrics")[1], re.MULTILINE)
        assert found is not None
        return int(found[1])

    def processes(self) -> Mapping[str, int]:
        """Process ids: of "guard", "tritonserver", and each model by its name."""
        (guard,) = _children(self.process.pid)
        (triton,) = _children(guard)
        found = {"guard": guard, "tritonserver": triton}
        for stub in _children(triton):
            words = Path(f"/proc/{stub}/cmdline").read_bytes().split(b"\0")
            found[Path(os.fsdecode(words[1])).parent.parent.name] = stub
        return found

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
            if "Press Ctrl-C" in line:
                self._ready.set()
        self._ready.set()

    def _printed_after(self, word: str) -> str:
        found = re.search(rf"{word} +(\S+)", self.printed)
        assert found is not None, self.printed
        return found[1]


def start_serve(repository: Path, *options: str) -> subprocess.Popen[str]:
    """Start it on free ports."""
    ports = (f"--{name}-port=0" for name in ("grpc", "http", "metrics", "health"))
    return subprocess.Popen(
        [sys.executable, "-m", "builder", "serve", f"--repository={repository}", *ports, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def served(repository: Path, *options: str) -> Iterator[Served]:
    """Serve until the block ends."""
    with start_serve(repository, *options) as process:
        running = Served(process)
        try:
            yield running
        finally:
            running.end()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found
