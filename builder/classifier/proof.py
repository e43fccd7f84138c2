"""Prove that a classifier's graph compiles, on a machine that cannot run the result."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder.classifier.checkpoint import load_classifier
from builder.classifier.contract import classify_ensemble
from builder.classifier.gates import Figure
from builder.classifier.graph import ClassifierGraph
from builder.classifier.layout import ClassifierLayout
from builder.classifier.pipeline import hold_classifier, write_tokenizer_files
from builder.export.pipeline import Limits, compile_graphs
from builder.export.proof import REPORT, clear_proof
from builder.export.targets import Built, Check
from builder.progress import Progress, silent


@dataclass(frozen=True)
class ClassifierProof:
    """What a check built, and the figures of its graph in ONNX Runtime; see `Proof`."""

    directory: Path
    check: str
    classifier: str
    engine: dict[str, Any]
    layout: ClassifierLayout
    built: dict[str, Built]
    parity: list[Figure]

    def to_dict(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "classifier": self.classifier,
            "directory": str(self.directory),
            "published": False,
            "executed": False,
            "engine": self.engine,
            "graphs": {name: built.to_dict() for name, built in self.built.items()},
            "fp16_graphs_in_onnxruntime": {"parity": [each.to_dict() for each in self.parity]},
            "layout": asdict(self.layout),
        }


def prove_classifier(
    source: str,
    directory: Path,
    check: Check,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    progress: Progress = silent,
) -> ClassifierProof:
    """Build the engine of the classifier `source` into `directory`, and hold its graph.

    What an earlier check left in `directory` is replaced.

    Raises
    ------
    CheckpointError
        `source` is no classifier that can be served.
    ExportError, GateError
        The graph does not export or compile, or in FP16 it is not within its bounds; or `directory`
        holds something that no check has made.
    """
    classifier = load_classifier(source)
    layout = ClassifierLayout.of_classifier(classifier, limits.max_rows)
    spec = classify_ensemble(token_types=classifier.token_types).steps[-1]
    clear_proof(directory)

    def directory_of(name: str) -> Path:
        found = directory / name
        found.mkdir(exist_ok=True)
        return found

    graphs = {spec: ClassifierGraph(classifier)}
    built = compile_graphs(check, graphs, layout, directory_of, progress=progress)
    with tempfile.TemporaryDirectory() as scratch:
        write_tokenizer_files(Path(scratch), classifier, layout)
        parity = hold_classifier(
            check.stand_in(spec, directory_of(spec.name)),
            check,
            classifier,
            layout,
            Path(scratch),
            progress=progress,
        )
    proof = ClassifierProof(directory, check.name, source, check.describe(), layout, built, parity)
    (directory / REPORT).write_text(json.dumps(proof.to_dict(), indent=2), "utf-8")
    return proof
