"""The systems that are compared: each starts, says how to load it, answers, and stops.

All serve the same weights, the directory ``encoder/`` of a checkpoint, which is a plain Hugging
Face model with mean pooling.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perf.errors import PerfError
from perf.load import TIMEOUT, closed_loop, http_post
from perf.measurement import Measurement, from_latencies

_PEERS: Final = Path(__file__).with_name("peers")
_START: Final = 120.0  # seconds for a peer to load its model

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HttpService:
    """A peer behind HTTP: how a list of texts is asked for, and where the vectors are."""

    name: str
    address: str
    path: str

    def body(self, texts: Sequence[str]) -> bytes:
        if self.path == "/embed":
            return json.dumps({"texts": list(texts)}).encode()
        # float: the answer's vectors as JSON numbers, the default of OpenAI's clients for the rest
        return json.dumps({"model": "peer", "input": list(texts)}).encode()

    def vectors(self, texts: Sequence[str]) -> Vectors:
        answer = self.post(self.body(texts))
        rows = (
            answer["vectors"]
            if self.path == "/embed"
            else [row["embedding"] for row in answer["data"]]
        )
        return np.array(rows, np.float32)

    def post(self, body: bytes, path: str | None = None) -> Any:
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request(
                "POST", path or self.path, body, {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise PerfError(f"{self.name} answered {answer.status}: {content[:300]!r}")
        return json.loads(content)

    def measure(self, bodies: Sequence[bytes], clients: int, seconds: float) -> Measurement:
        return closed_loop(http_post(self.address, self.path, bodies), clients, seconds)


@dataclass(frozen=True, slots=True)
class InProcess:
    """A library in a process of its own; see ``peers/in_process.py``."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def answer(self, arguments: Sequence[Any]) -> NDArray[np.float32]:
        values = self._ask({"do": "answer", "arguments": list(arguments)})["values"]
        return np.array(values, np.float32)

    def measure(self, calls: Sequence[Any], seconds: float) -> Measurement:
        answer = self._ask({"do": "measure", "calls": calls, "seconds": seconds})
        return from_latencies(answer["latencies"], answer["wall"])

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise PerfError(f"{self.name} ended:\n{_end_of(self.log)}")
        return json.loads(line)


@contextmanager
def infinity(
    python: Path, model: Path, *, engine: str = "torch", batch_size: int = 128
) -> Iterator[HttpService]:
    """infinity-emb as a server. ``engine`` is ``torch`` or ``optimum`` (its ONNX engine)."""
    port = _free_port()
    command = [
        *(str(python), "-c", "from infinity_emb.cli import cli; cli()", "v2"),
        *("--model-id", str(model), "--served-model-name", "peer", "--engine", engine),
        *("--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--no-model-warmup"),
        *("--batch-size", str(batch_size), "--host", "127.0.0.1", "--port", str(port)),
        *("--pooling-method", "mean", "--log-level", "error"),
    ]
    name = "infinity" if engine == "torch" else f"infinity ({engine})"
    with _http_service(name, command, port, "/embeddings") as service:
        yield service


def export_onnx(python: Path, model: Path, scratch: Path) -> Path:
    """Export the model for infinity's ONNX engine, in its environment; returns a directory."""
    target = scratch / "onnx"
    done = subprocess.run(
        [str(python), str(_PEERS / "export_onnx.py"), str(model), str(target)],
        env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise PerfError(f"{model} could not be exported as ONNX:\n{done.stderr.strip()[-600:]}")
    return target


@contextmanager
def textbook(python: Path, model: Path) -> Iterator[HttpService]:
    """FastAPI with transformers: ``peers/textbook.py``."""
    port = _free_port()
    command = [str(python), str(_PEERS / "textbook.py"), str(model), str(port)]
    with _http_service("FastAPI + transformers", command, port, "/embed") as service:
        yield service


@contextmanager
def in_process(name: str, python: Path, kind: str, model: Path) -> Iterator[InProcess]:
    """Start ``peers/in_process.py`` and wait until it has loaded the model."""
    command = [str(python), str(_PEERS / "in_process.py"), kind, str(model)]
    with _process(command, stdin=subprocess.PIPE) as (process, log):
        assert process.stdout is not None
        if not process.stdout.readline():
            raise PerfError(f"{name} did not start:\n{_end_of(log)}")
        yield InProcess(name, process, log)


@contextmanager
def _http_service(name: str, command: Sequence[str], port: int, path: str) -> Iterator[HttpService]:
    with _process(command) as (process, log):
        deadline = time.monotonic() + _START
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PerfError(f"{name} did not start:\n{_end_of(log)}")
            time.sleep(0.2)
        yield HttpService(name, f"127.0.0.1:{port}", path)


@contextmanager
def _process(
    command: Sequence[str], stdin: int = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                # A peer that prints must not wait for somebody to read it.
                stdout=subprocess.PIPE if stdin == subprocess.PIPE else stderr,
                stderr=stderr,
                cwd=scratch,
                env=_environment(),
                text=True,
                start_new_session=True,  # so that its own children end with it
            )
        try:
            yield process, log
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            for sign in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
                    break


def _environment() -> dict[str, str]:
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    }
    return {**os.environ, **quiet}


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", errors="replace").strip().splitlines()[-12:])
