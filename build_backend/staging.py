"""Copies the project into a directory with its packages moved under `tritonrec`.

``python -m build_backend.staging DIRECTORY`` copies the tests too, renamed likewise: there they
run against an installed wheel.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from build_backend.renaming import PACKAGES, TOP, rename_source, rename_text

_TOP_SOURCES: Final = Path("build_backend", TOP)
_TEXTS: Final = ("pyproject.toml", "README.md")
_FILES: Final = ("LICENSE",)
_NEVER: Final = shutil.ignore_patterns("__pycache__")


def stage(project: Path, target: Path) -> None:
    """Copy what a wheel is built of: a project with the one package `tritonrec`."""
    modules = module_names(project)
    _copy(project, target, _TOP_SOURCES, Path(TOP), modules)
    for name in PACKAGES:
        _copy(project, target, Path(name), Path(TOP, name), modules)
    for name in _TEXTS:
        text = (project / name).read_text("utf-8")
        (target / name).write_text(rename_text(text, modules), "utf-8")
    for name in _FILES:
        shutil.copy(project / name, target / name)


def stage_tests(project: Path, target: Path) -> None:
    """Copy the tests, and what they read beside the packages."""
    modules = module_names(project)
    _copy(project, target, Path("tests"), Path("tests"), modules)
    _copy(project, target, Path("docs"), Path("docs"), modules)
    text = (project / "pyproject.toml").read_text("utf-8")
    (target / "pyproject.toml").write_text(rename_text(text, modules), "utf-8")


def module_names(project: Path) -> frozenset[str]:
    """Dotted names of all modules of the packages, and of the packages within them."""
    return frozenset(
        ".".join(name.relative_to(project).parts)
        for package in PACKAGES
        for file in (project / package).rglob("*.py")
        for name in (file.with_suffix(""), file.parent)
    )


def _copy(project: Path, target: Path, source: Path, place: Path, modules: Collection[str]) -> None:
    shutil.copytree(project / source, target / place, ignore=_NEVER)
    for file in (target / place).rglob("*.py"):
        text = file.read_text("utf-8")
        file.write_text(rename_source(text, modules), "utf-8")
    for file in (target / place).rglob("*.md"):
        file.write_text(rename_text(file.read_text("utf-8"), modules), "utf-8")


def _main(arguments: Iterable[str]) -> None:
    (directory,) = arguments
    stage_tests(Path.cwd(), Path(directory))


if __name__ == "__main__":
    _main(sys.argv[1:])
