"""Virtual environments for peers whose requirements do not agree with ours.

Each is made once, with the packages pinned here, and kept; a change of the pins makes it anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perf.errors import PerfError

DEFAULT: Final = Path(__file__).with_name(".environments")


_STAMP: Final = "requirements.txt"


@dataclass(frozen=True, slots=True)
class Environment:
    """A name, and what pip is asked for."""

    name: str
    requirements: tuple[str, ...]


INFINITY: Final = Environment(
    "infinity",
    (
        "infinity-emb[server,torch]==0.0.78",
        "torch==2.13.0",
        "click==8.1.8",  # its command line does not start with later ones
        # Its ONNX engine calls what later ones removed, and both engines share an environment.
        "optimum[onnxruntime]==1.24.0",
        "transformers==4.48.3",
        "numpy<2",
        "pyarrow<26",  # 26 refuses to import beside numpy < 2 and does not declare it
    ),
)
TRANSFORMERS: Final = Environment(
    "transformers",
    ("sentence-transformers==6.2.0", "torch==2.13.0", "fastapi==0.165.0", "uvicorn==0.54.0"),
)


def is_made(environment: Environment, directory: Path) -> bool:
    """Whether `python_of` would find it as it is pinned now."""
    stamp = directory / environment.name / _STAMP
    return stamp.is_file() and stamp.read_text("utf-8") == _lines(environment)


def python_of(environment: Environment, directory: Path) -> Path:
    """Return the environment's Python, after making it under ``directory`` if need be.

    Raises
    ------
    PerfError
        pip could not install; carries its reason.
    """
    home = directory / environment.name
    python = home / "bin" / "python"
    if is_made(environment, directory):
        return python
    shutil.rmtree(home, ignore_errors=True)
    sys.stderr.write(f"making the environment {environment.name} in {home} (minutes, once)\n")
    venv.create(home, with_pip=True, symlinks=True)
    done = subprocess.run(
        [
            *(str(python), "-m", "pip", "install", "--quiet", "--no-input"),
            *("--disable-pip-version-check", *environment.requirements),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        reason = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise PerfError(f"the environment {environment.name} could not be made:\n{reason}")
    # Written last: without it, what an interruption left is made anew.
    (home / _STAMP).write_text(_lines(environment), "utf-8")
    return python


def versions_of(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of ``packages`` as installed beside ``python``."""
    code = (
        "import importlib.metadata as m, sys\n"
        "for name in sys.argv[1:]: print(name, m.version(name))"
    )
    done = subprocess.run(
        [str(python), "-c", code, *packages], capture_output=True, text=True, check=True
    )
    return dict(zip(*[iter(done.stdout.split())] * 2, strict=True))


def _lines(environment: Environment) -> str:
    return "\n".join(environment.requirements) + "\n"
