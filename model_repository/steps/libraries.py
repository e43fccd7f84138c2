"""Checks, when a model loads, that the libraries are there with which it was exported."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

LIBRARIES_FILE: Final = "libraries.json"
"""In a version: package → the version of it that the export was made and checked with."""


def check_libraries(directory: Path) -> list[str]:
    """What differs from the export, for the log.

    Raises
    ------
    RuntimeError
        A library is missing.
    """
    wanted: dict[str, str] = json.loads((directory / LIBRARIES_FILE).read_text("utf-8"))
    missing, other = [], []
    for name, expected in wanted.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            missing.append(f"{name}=={expected}")
            continue
        if found != expected:
            other.append(f"{name} is {found} here, and the model was exported with {expected}")
    if missing:
        raise RuntimeError(
            f"{directory} needs packages that are not installed beside the server: "
            f"pip install {' '.join(missing)}"
        )
    return other
