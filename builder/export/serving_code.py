"""Copies the serving code into the version of a model, with what it needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

import model_repository
from model_repository.steps.libraries import LIBRARIES_FILE

PACKAGE: Final = "serving"
_SOURCE: Final = Path(model_repository.__file__).parent
_SHELL: Final = f'''"""The model as Triton's Python backend loads it."""

from .{PACKAGE}.steps.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


def install(directory: Path, libraries: Iterable[str]) -> None:
    """Write the code of a model into its version, and the names of what it imports.

    ``libraries`` are the distributions beside numpy that are checked when the model loads.
    """
    shutil.copytree(
        _SOURCE,
        directory / PACKAGE,
        # Exports of earlier versions of this software went into the package's own directory.
        ignore=lambda where, names: [
            name
            for name in names
            if name == "__pycache__" or (where == str(_SOURCE) and name not in _CONTENTS)
        ],
    )
    (directory / "model.py").write_text(_SHELL, "utf-8")
    needed = {name: installed(name) for name in ("numpy", *libraries)}
    write_json(directory / LIBRARIES_FILE, needed)


def libraries_of(directories: Iterable[Path]) -> dict[str, str]:
    """The packages that `install` named in any of these versions of models, with their versions."""
    found: dict[str, str] = {}
    for directory in directories:
        file = directory / LIBRARIES_FILE
        if file.is_file():
            found |= json.loads(file.read_text("utf-8"))
    return dict(sorted(found.items()))


def write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False), "utf-8")


_CONTENTS: Final = {"__init__.py", "core", "engines", "steps"}
