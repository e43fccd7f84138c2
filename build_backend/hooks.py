"""Builds the distribution `tritonrec`: setuptools, but a wheel is built of renamed packages.

In the repository the packages are `client`, `builder` and `model_repository`. Names as common as
these must not land in other people's environments, so a wheel holds `tritonrec.client` and so on.
An sdist and an editable install keep the names of the repository.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from setuptools import build_meta

from build_backend.staging import stage

build_sdist = build_meta.build_sdist
build_editable = build_meta.build_editable
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel into a directory; return the file's name, as PEP 517 has it."""
    target = str(Path(wheel_directory).resolve())
    metadata = metadata_directory and str(Path(metadata_directory).resolve())
    with _staged():
        name: str = build_meta.build_wheel(target, config_settings, metadata)
        return name


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: dict[str, Any] | None = None
) -> str:
    """Write the ``.dist-info`` of the wheel into a directory; return its name."""
    target = str(Path(metadata_directory).resolve())
    with _staged():
        name: str = build_meta.prepare_metadata_for_build_wheel(target, config_settings)
        return name


@contextmanager
def _staged() -> Iterator[None]:
    """Work in a copy of the project with the packages renamed: setuptools builds where it is."""
    project = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="tritonrec-build-") as directory:
        stage(project, Path(directory))
        os.chdir(directory)
        try:
            yield
        finally:
            os.chdir(project)
