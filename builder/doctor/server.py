"""The server that would load a repository: Triton on this machine, or in an image."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from builder.doctor.images import BACKENDS, SERVER_PACKAGES, TritonImage
from builder.errors import ServingError
from builder.serving import Installation, find_tritonserver

_TIMEOUT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; ``compute_capability`` is (major, minor)."""

    name: str
    compute_capability: tuple[int, int]
    driver: str


@dataclass(frozen=True, slots=True)
class Server:
    """What is known of a Triton and the machine below it.

    Attributes
    ----------
    problem
        Why no tritonserver starts; None if one does.
    embedded
        The one of the ``nvidia-pytriton`` wheel. ``python -m builder serve`` runs it, which shows
        Triton the models alone; everywhere else Triton sees the repository as it is.
    backends
        None where it is not known.
    package
        Version of a Python package that models can import: None if it is missing, empty if
        it is not known.
    tensorrt, onnxruntime
        Versions that the backends of these names link; None where it is not known.
    gpus
        Those that it can use; None where it is not known.
    shared_memory
        Bytes of ``/dev/shm``; None where it is not known.
    image
        None for this machine.
    """

    name: str
    package: Callable[[str], str | None]
    problem: str | None = None
    embedded: bool = False
    backends: frozenset[str] | None = None
    tensorrt: str | None = None
    onnxruntime: str | None = None
    gpus: tuple[Gpu, ...] | None = None
    shared_memory: int | None = None
    image: TritonImage | None = None


def local_server() -> Server:
    """Look at this machine."""
    gpus = find_gpus()
    try:
        installation = find_tritonserver()
    except ServingError as error:
        return Server("this machine", local_package, problem=str(error), gpus=gpus)
    embedded = bool(installation.backend_files)
    backends = frozenset({"python"}) if embedded else _backends(installation)
    return Server(
        f"{installation.binary} on this machine",
        local_package,
        embedded=embedded,
        backends=backends,
        tensorrt=None if embedded else _library_version("libnvinfer.so"),
        onnxruntime=_onnxruntime(installation),
        gpus=gpus,
        shared_memory=_shared_memory(),
    )


def image_server(image: TritonImage) -> Server:
    """Take an image for what serves, on a machine with this machine's GPUs, if it has any."""
    held = dict.fromkeys(SERVER_PACKAGES, "")
    return Server(
        image.name,
        held.get,
        backends=BACKENDS,
        tensorrt=image.tensorrt,
        onnxruntime=image.onnxruntime,
        gpus=find_gpus() or None,
        image=image,
    )


def local_package(name: str) -> str | None:
    """Version of a package that is installed here; None if it is not."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def find_gpus() -> tuple[Gpu, ...]:
    """Ask ``nvidia-smi``; none where there is no such program or it reaches no driver."""
    output = _output("nvidia-smi", "--query-gpu=name,compute_cap,driver_version",
                     "--format=csv,noheader")  # fmt: skip
    return parse_gpus(output)


def parse_gpus(output: str) -> tuple[Gpu, ...]:
    """Read what ``nvidia-smi --query-gpu=name,compute_cap,driver_version`` prints as CSV."""
    return tuple(
        Gpu(row[0], capability, row[2])
        for row in csv.reader(output.splitlines(), skipinitialspace=True)
        if len(row) == 3 and (capability := parse_capability(row[1]))
    )


def parse_capability(text: object) -> tuple[int, int] | None:
    """Read "8.6", "sm_86" or [8, 6] as (8, 6)."""
    if isinstance(text, list | tuple) and len(text) == 2:
        text = f"{text[0]}.{text[1]}"
    match = re.fullmatch(r"(?:sm_?)?(\d+)\.?(\d)", str(text).strip(), re.IGNORECASE)
    return (int(match[1]), int(match[2])) if match else None


def _shared_memory() -> int | None:
    try:
        return shutil.disk_usage("/dev/shm").total  # nosec B108 # Linux names it
    except OSError:
        return None


def _backends(installation: Installation) -> frozenset[str] | None:
    if installation.backends is None:
        return None
    return frozenset(path.name for path in installation.backends.iterdir() if path.is_dir())


def _onnxruntime(installation: Installation) -> str | None:
    directory = installation.backends and installation.backends / "onnxruntime"
    if not directory or not directory.is_dir():
        return None
    return max(
        (found for path in directory.glob("libonnxruntime.so.*") if (found := _version(path))),
        key=len,
        default=None,
    )


def _library_version(name: str) -> str | None:
    """Find a shared library as the dynamic loader would; its version is in its file's name."""
    for line in _output("ldconfig", "-p").splitlines():
        library, _, path = line.strip().partition(" => ")
        if path and library.split()[0].startswith(name):
            return _version(Path(path).resolve())
    return None


def _version(library: Path) -> str | None:
    version = library.name.partition(".so.")[2]
    return version if re.fullmatch(r"\d+(\.\d+)+", version) else None


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
