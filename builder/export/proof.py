"""Prove that a checkpoint's graphs compile, on a machine that cannot run the result.

Nothing is published. What a check builds goes into a directory of its own, with a report that says
what was done and what was not.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from builder.errors import ExportError
from builder.export.layout import Layout
from builder.export.pipeline import (
    Figures,
    Limits,
    compile_graphs,
    hold,
    recommender_graphs,
    recommender_layout,
)
from builder.export.targets import Built, Check
from builder.model.checkpoint import load_checkpoint, load_validation
from builder.progress import Progress, silent

REPORT: Final = "report.json"


@dataclass(frozen=True)
class Proof:
    """What a check built and found.

    Attributes
    ----------
    directory
        Holds, for each model, the engine and the FP16 graph that it was built from.
    built
        The engines, by the name of their model. None of them was executed.
    figures
        The gates' figures of the FP16 graphs, run by ONNX Runtime on the CPU.
    """

    directory: Path
    check: str
    checkpoint: Path
    engine: dict[str, Any]
    layout: Layout
    built: dict[str, Built]
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "checkpoint": str(self.checkpoint),
            "directory": str(self.directory),
            "published": False,
            "executed": False,
            "engine": self.engine,
            "graphs": {name: built.to_dict() for name, built in self.built.items()},
            "fp16_graphs_in_onnxruntime": self.figures.to_dict(),
            "layout": asdict(self.layout),
        }


def prove(
    checkpoint: Path,
    directory: Path,
    check: Check,
    limits: Limits | None = None,
    *,
    progress: Progress = silent,
) -> Proof:
    """Build the engines of `checkpoint` into `directory`, and hold their graphs against the gates.

    What an earlier check left in `directory` is replaced.

    Raises
    ------
    CheckpointError
        `checkpoint` is not a finished training run.
    ExportError, GateError
        A graph does not export or compile, or in FP16 it is not within its bounds; or `directory`
        holds something that no check has made.
    """
    model = load_checkpoint(checkpoint)
    validation = load_validation(checkpoint)
    layout = recommender_layout(model, limits or Limits(), check)
    graphs = recommender_graphs(model, layout, check.linear_form)
    clear_proof(directory)

    def directory_of(name: str) -> Path:
        found = directory / name
        found.mkdir(exist_ok=True)
        return found

    built = compile_graphs(check, graphs, layout, directory_of, progress=progress)
    figures = hold(
        lambda spec: check.stand_in(spec, directory_of(spec.name)),
        check,
        graphs,
        model,
        validation,
        layout,
        progress=progress,
    )
    proof = Proof(
        directory, check.name, checkpoint.resolve(), check.describe(), layout, built, figures
    )
    (directory / REPORT).write_text(json.dumps(proof.to_dict(), indent=2), "utf-8")
    return proof


def clear_proof(directory: Path) -> None:
    """Make `directory`, without what an earlier check left there.

    The report is written at the start too, so that an interrupted check can be told from a
    directory of somebody's own.
    """
    if directory.exists() and any(directory.iterdir()) and not (directory / REPORT).is_file():
        raise ExportError(
            f"{directory} holds files that no check has made; name another with --proof"
        )
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / REPORT).write_text('{"finished": false}', "utf-8")
