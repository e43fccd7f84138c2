"""A checkpoint or a classifier → a version of a model repository, or a proof that it compiles."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from builder.errors import ConfigError, ExportError
from builder.export.exportable import Exportable, Figures
from builder.export.onnx import OPSET
from builder.export.serving_code import libraries_of
from builder.export.targets import CHECKS, TARGETS, Built, Check, Compiler, Target, TargetOptions
from builder.progress import Progress, silent
from builder.repository import stage
from builder.repository.family import check_family
from builder.repository.golden import DETAIL, golden_to_json

REPORT: Final = "report.json"
SCHEMA: Final = 2
"""Of a version's details in the manifest and of its files. 1, which did not say so, had the ranking
rule inside its networks."""

_PACKAGES: Final = ("torch", "transformers", "tokenizers", "onnx", "numpy")


@dataclass(frozen=True)
class Exported:
    """What an export published, and the figures of its gates."""

    repository: Path
    version: int
    target: str
    figures: Figures
    details: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {
            "repository": str(self.repository),
            "version": self.version,
            "target": self.target,
            **self.details,
            **self.figures.to_dict(),
        }


@dataclass(frozen=True)
class Proof:
    """What a check built and found.

    Attributes
    ----------
    directory
        Holds, for each network, the engine and the FP16 graph that it was built from.
    built
        The engines, by the name of their model. None of them was executed.
    figures
        The gates' figures of the FP16 graphs, run by ONNX Runtime on the CPU.
    """

    directory: Path
    check: str
    source: str
    engine: dict[str, Any]
    layout: Mapping[str, Any]
    built: dict[str, Built]
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "source": self.source,
            "directory": str(self.directory),
            "published": False,
            "executed": False,
            "engine": self.engine,
            "graphs": {name: built.to_dict() for name, built in self.built.items()},
            "fp16_graphs_in_onnxruntime": self.figures.to_dict(),
            "layout": self.layout,
        }


def publish(
    exportable: Exportable,
    repository: Path,
    target: Target,
    *,
    made_from: int | None = None,
    progress: Progress = silent,
) -> Exported:
    """Publish as the next version of `repository`.

    The repository changes only when everything is built and every gate has passed, and then all
    at once; see `builder.repository.stage`, also for ``made_from``.

    Raises
    ------
    ExportError, GateError
        A network does not export or compile; something is not within its bounds.
    RepositoryError
        The repository cannot be written, holds another family, or has another active version than
        ``made_from``.
    """
    check_family(repository, exportable.family)
    with stage(repository, made_from=made_from) as staging:
        check_family(repository, exportable.family)  # no other process publishes from here on
        built = exportable.compile(target, staging.model_dir, progress=progress)
        exportable.write(target, staging, progress=progress)
        engine_of = exportable.engine_of(target, staging.model_dir)
        figures = exportable.hold(engine_of, target, staging.model_dir, progress=progress)
        staging.target = target.name
        staging.checkpoint = exportable.source
        details = exportable.details()
        staging.details = {
            "schema": SCHEMA,
            "family": exportable.family,
            **details,
            **figures.to_dict(),
            "layout": asdict(exportable.layout),
            "options": target.chosen(),
            "engine": _engine(target, built),
            "opset": OPSET,
            "versions": {"python": platform.python_version()}
            | {name: installed(name) for name in _PACKAGES},
            "libraries": libraries_of(map(staging.model_dir, staging.models)),
            DETAIL: golden_to_json(exportable.golden(engine_of, staging.model_dir)),
            "sha256": staging.hashes(),
        }
    return Exported(repository, staging.version, target.name, figures, details)


def prove(
    exportable: Exportable, directory: Path, check: Check, *, progress: Progress = silent
) -> Proof:
    """Build the engines into `directory`, and hold their graphs to the gates. Publishes nothing.

    What an earlier check left in `directory` is replaced.

    Raises
    ------
    ExportError, GateError
        A network does not export or compile, or in FP16 it is not within its bounds; or
        `directory` holds something that no check has made.
    """
    _clear(directory)

    def directory_of(name: str) -> Path:
        found = directory / name
        found.mkdir(exist_ok=True)
        return found

    built = exportable.compile(check, directory_of, progress=progress)
    figures = exportable.hold(
        lambda spec: check.stand_in(spec, directory_of(spec.name)), check, None, progress=progress
    )
    proof = Proof(
        directory,
        check.name,
        exportable.source,
        check.describe(),
        asdict(exportable.layout),
        built,
        figures,
    )
    (directory / REPORT).write_text(json.dumps(proof.to_dict(), indent=2), "utf-8")
    return proof


def target_named(name: str, options: TargetOptions | None = None) -> Target:
    """The target of that name, if this machine can build it.

    Raises
    ------
    ConfigError
        There is no such target, it only checks, or it does not read one of the options.
    ExportError
        Something is missing here; the message says what and how to get it.
    """
    if name in CHECKS:
        raise ConfigError(
            f"--target {name} builds nothing that Triton can serve; it checks that the graphs "
            f"compile. The targets that are published are {', '.join(TARGETS)}"
        )
    if name not in TARGETS:
        raise ConfigError(
            f"--target {name}: unknown; the targets are {', '.join((*TARGETS, *CHECKS))}"
        )
    target = TARGETS[name](options)
    _require(target, options)
    return target


def check_named(name: str, options: TargetOptions | None = None) -> Check:
    """The check of that name, if this machine can do it; raises like `target_named`."""
    if name not in CHECKS:
        raise ConfigError(f"--target {name} is no check; the checks are {', '.join(CHECKS)}")
    check = CHECKS[name](options)
    _require(check, options)
    return check


def _require(compiler: Compiler, options: TargetOptions | None) -> None:
    """Raise unless this machine can build with `compiler`, which reads all of the `options`."""
    if options is not None and (alien := options.changed() - compiler.options):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(alien))
        raise ConfigError(f"{named}: --target {compiler.name} has no such option")
    if missing := compiler.missing():
        raise ExportError(
            f"--target {compiler.name} cannot be built on this machine; it lacks {missing}"
        )


def _engine(compiler: Compiler, built: Mapping[str, Built]) -> dict[str, Any]:
    return {
        **compiler.describe(),
        "graphs": {name: each.to_dict() for name, each in built.items()},
    }


def _clear(directory: Path) -> None:
    """Make `directory`, without what an earlier check left there.

    The report is written at the start too, so that an interrupted check can be told from a
    directory of somebody's own.
    """
    if directory.exists() and any(directory.iterdir()) and not (directory / REPORT).is_file():
        raise ExportError(
            f"{directory} holds files that were not made by a check; name another with --proof"
        )
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / REPORT).write_text('{"finished": false}', "utf-8")
