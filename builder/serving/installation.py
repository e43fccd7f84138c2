"""Where tritonserver comes from: the one on PATH, else the one in the ``nvidia-pytriton`` wheel.

The wheel keeps one stub (the process that runs Python models) per Python version away from its
Python backend, which looks for it beside its own library. So a private backend directory of links
brings the two together. Links rather than copies: the stub then runs from where it is installed,
whatever the mount options of the temporary directory.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from builder.errors import ServingError
from builder.serving.cancellation_fix import mended

_STUB: Final = "triton_python_backend_stub"
_INSTALL: Final = "install one with `pip install tritonrec[embedded]` (Linux), or run this inside "
_CONTAINER: Final = "NVIDIA's Triton container"


FOR_SPEED: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "OPENBLAS_NUM_THREADS": "1",
}
"""What the server's processes work faster with, see docs/performance.md.

glibc's malloc else gives each large array back to the kernel and asks for it anew, page fault by
page fault. A second thread of numpy's OpenBLAS has next to nothing to do in `recommend`, and calls
`sched_yield` in the meantime: half of a core."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A tritonserver that can be started.

    ``backend_files`` are to lie together in a directory ``python`` of the backend directory; when
    there are none, ``backends`` is complete as it is (None: Triton's default). ``mends`` is whether
    to start it without what `cancellation_fix` mends, where it is known to have that.
    """

    binary: Path
    backends: Path | None = None
    backend_files: tuple[Path, ...] = ()
    library_path: tuple[Path, ...] = ()
    python_path: Path | None = None
    mends: bool = True

    def program(self, scratch: Path) -> Path:
        """Return what to start; made under ``scratch`` where it has to be made."""
        return mended(self.binary, scratch) if self.mends else self.binary

    def backend_directory(self, scratch: Path) -> Path | None:
        """Return the backend directory, made under ``scratch`` where one has to be made."""
        if not self.backend_files:
            return self.backends
        python = scratch / "backends" / "python"
        python.mkdir(parents=True)
        for file in self.backend_files:
            (python / file.name).symlink_to(file)
        return python.parent

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that the server needs; ``base`` has the last word."""
        environment = {**FOR_SPEED, **base}
        if self.library_path:
            _prepend(environment, "LD_LIBRARY_PATH", *self.library_path)
        if self.python_path:
            # The stub embeds Python, which finds its site-packages through `python3` on PATH.
            _prepend(environment, "PATH", self.python_path)
        return environment


def find_tritonserver() -> Installation:
    """Find a tritonserver that can run here.

    Raises
    ------
    ServingError
        There is none, or the one in the wheel could not run Python models; says what to install.
    """
    on_path = shutil.which("tritonserver")
    if on_path:
        binary = Path(on_path).resolve()
        backends = binary.parent.parent / "backends"
        return Installation(binary, backends if backends.is_dir() else None)
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServingError(
            f"no tritonserver on PATH or among the Python packages; {_INSTALL}{_CONTAINER}"
        )
    return _from_wheel(Path(spec.origin).parent)


def _from_wheel(package: Path) -> Installation:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    root = package / "tritonserver"
    binary = root / "bin" / "tritonserver"
    stub = root / "python_backend_stubs" / version / _STUB
    if not binary.is_file():
        raise ServingError(f"the nvidia-pytriton package at {package} is broken; {_INSTALL}"
                           f"{_CONTAINER}")  # fmt: skip
    if not stub.is_file():
        held = ", ".join(sorted(path.name for path in stub.parent.parent.glob("3.*")))
        raise ServingError(
            f"tritonserver in {package} cannot run models under Python {version}, only under "
            f"{held}; use one of these"
        )
    _check_numpy()
    python_path = Path(sys.executable).parent
    if not (python_path / "python3").exists():
        raise ServingError(
            f"{python_path} holds no python3, through which Triton's Python backend finds this "
            "Python's packages; use a virtual environment (`python -m venv`)"
        )
    python_backend = root / "backends" / "python"
    installation = Installation(
        binary=binary,
        backend_files=(
            stub,
            *(path for path in sorted(python_backend.iterdir()) if path.is_file()),
        ),
        library_path=(package.parent / "nvidia_pytriton.libs", *_python_libraries()),
        python_path=python_path,
    )
    _check_libraries(installation, stub, version)
    return installation


def _check_numpy() -> None:
    version = metadata.version("numpy")
    if int(version.split(".")[0]) >= 2:
        raise ServingError(
            f"numpy {version} is installed; the Python backend of the embedded tritonserver reads "
            "text as garbage with numpy 2 and then dies; run `pip install 'numpy<2'`"
        )


def _python_libraries() -> tuple[Path, ...]:
    """Return the directories that may hold libpython, which is rarely on the loader's own path."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    candidates = (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib")
    return tuple(
        dict.fromkeys(Path(directory) for directory in candidates
                      if directory and name and Path(directory, name).exists())
    )  # fmt: skip


def _check_libraries(installation: Installation, stub: Path, version: str) -> None:
    """Ask the dynamic loader whether the stub can start.

    When it cannot, tritonserver waits for it for ever and never says why.
    """
    environment = installation.environment(os.environ) | {"LD_TRACE_LOADED_OBJECTS": "1"}
    listing = subprocess.run([stub], env=environment, capture_output=True, text=True, check=False)
    missing = [line.split()[0] for line in listing.stdout.splitlines() if "not found" in line]
    if any(name.startswith("libpython") for name in missing):
        raise ServingError(
            f"Triton's Python backend needs libpython{version}.so, which this Python "
            f"({sys.executable}) does not come with: it was linked statically. Install it (Debian "
            f"and Ubuntu: `apt install libpython{version}`), or use a Python built with "
            "--enable-shared (pyenv: `PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install`)"
        )
    if missing or listing.returncode != 0:
        reason = ", ".join(missing) or listing.stderr.strip()
        raise ServingError(
            f"Triton's Python backend cannot start, libraries are missing: {reason}; install the "
            "system packages that hold them"
        )


def _prepend(environment: dict[str, str], name: str, *directories: Path) -> None:
    rest = [environment[name]] if environment.get(name) else []
    environment[name] = os.pathsep.join([*(str(directory) for directory in directories), *rest])
