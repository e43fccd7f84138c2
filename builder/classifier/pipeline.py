"""Sequence classifier → model repository: export, compile, hold against the gates, publish."""

from __future__ import annotations

import json
import logging
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from builder.classifier.checkpoint import Classifier, load_classifier, load_examples
from builder.classifier.contract import classify_ensemble
from builder.classifier.gates import Figure, check_shapes, check_texts, samples
from builder.classifier.graph import ClassifierGraph
from builder.classifier.layout import ClassifierLayout
from builder.export.onnx import OPSET
from builder.export.parity import Engine
from builder.export.pipeline import Limits, compile_graphs
from builder.export.targets import Compiler, Target
from builder.progress import Progress, silent
from builder.repository import DynamicBatching, ensemble_config, stage, step_config
from builder.repository.family import check_family
from builder.repository.publish import Staging
from model_repository.core.contract import ACTIVATION, LABELS, ModelSpec
from model_repository.pair_tokenizer import PairTokenizer
from model_repository.steps import install_step

log = logging.getLogger(__name__)

_PACKAGES: Final = ("torch", "transformers", "tokenizers", "onnx", "numpy")
_EXAMPLES: Final = 100
"""Texts of the checkpoint's own validation data that the gate goes through, at most."""
_BOUND: Final = {"fp32": 1e-5}
_REDUCED_PRECISION_BOUND: Final = 1e-2


@dataclass(frozen=True)
class ExportedClassifier:
    """What an export published, and the figures of its gates."""

    repository: Path
    version: int
    target: str
    labels: tuple[str, ...]
    activation: str
    parity: list[Figure]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "repository": str(self.repository)}


def export_classifier(
    source: str,
    repository: Path,
    target: Target,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    progress: Progress = silent,
) -> ExportedClassifier:
    """Publish the classifier `source` as the next version of `repository`.

    Of `limits` only ``max_rows`` matters, the texts of one request. The repository changes only
    when everything is built and every gate has passed, and then all at once.

    Parameters
    ----------
    source
        An ``AutoModelForSequenceClassification``, by directory or hub name.

    Raises
    ------
    CheckpointError
        `source` is no classifier that can be served.
    ExportError, GateError
        The graph does not export or compile, or an answer is not that of ``transformers``.
    RepositoryError
        The repository holds a recommender, or cannot be written.
    """
    check_family(repository, "classifier")
    classifier = load_classifier(source)
    layout = ClassifierLayout.of_classifier(classifier, limits.max_rows)
    ensemble = classify_ensemble(token_types=classifier.token_types)
    tokenizer, spec = ensemble.steps
    graph = ClassifierGraph(classifier)
    with stage(repository) as staging:
        check_family(repository, "classifier")  # nobody else publishes from here on
        built = compile_graphs(target, {spec: graph}, layout, staging.model_dir, progress=progress)
        staging.write_config(target.config(spec, layout, staging.version))
        _write_tokenizer(staging, tokenizer, classifier, layout)
        _write_ensemble(staging, classifier, layout)
        parity = hold_classifier(
            target.load(spec, staging.model_dir(spec.name)),
            target,
            classifier,
            layout,
            staging.model_dir(tokenizer.name),
            progress=progress,
        )
        staging.target = target.name
        staging.checkpoint = _origin(source)
        staging.details = {
            "family": "classifier",
            LABELS: list(classifier.labels),
            ACTIVATION: classifier.activation,
            "parity": [figure.to_dict() for figure in parity],
            "layout": asdict(layout),
            "engine": {
                **target.describe(),
                "graphs": {name: each.to_dict() for name, each in built.items()},
            },
            "opset": OPSET,
            "versions": {"python": platform.python_version()}
            | {name: installed(name) for name in _PACKAGES},
            "sha256": staging.hashes(step.name for step in ensemble.steps),
        }
    return ExportedClassifier(
        repository, staging.version, target.name, classifier.labels, classifier.activation, parity
    )


def hold_classifier(
    engine: Engine,
    compiler: Compiler,
    classifier: Classifier,
    layout: ClassifierLayout,
    tokenizer: Path,
    *,
    progress: Progress = silent,
) -> list[Figure]:
    """Hold an engine, and the serving code in the directory `tokenizer`, against the gates.

    Raises
    ------
    GateError
        A figure is outside the bound of the compiler's precision.
    """
    bound = _BOUND.get(compiler.describe()["precision"], _REDUCED_PRECISION_BOUND)
    spec = classify_ensemble(token_types=classifier.token_types).steps[-1]
    graph = ClassifierGraph(classifier)
    texts = [*samples(classifier.max_length), *load_examples(classifier.source)[:_EXAMPLES]]
    return [
        *check_shapes(engine, graph, spec, classifier, layout, bound, progress=progress),
        check_texts(engine, PairTokenizer(tokenizer), classifier, texts, bound, progress=progress),
    ]


def write_tokenizer_files(
    directory: Path, classifier: Classifier, layout: ClassifierLayout
) -> None:
    """Write what the step ``pair_tokenizer`` reads."""
    classifier.tokenizer.backend_tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "length_buckets": layout.length_buckets,
        "pad_id": classifier.pad_id,
        "token_types": classifier.token_types,
    }
    (directory / "settings.json").write_text(json.dumps(settings, indent=2), "utf-8")


def _write_tokenizer(
    staging: Staging, spec: ModelSpec, classifier: Classifier, layout: ClassifierLayout
) -> None:
    install_step(spec.name, staging.model_dir(spec.name))
    write_tokenizer_files(staging.model_dir(spec.name), classifier, layout)
    staging.write_config(
        step_config(
            spec,
            backend="python",
            version=staging.version,
            sizes=layout.sizes,
            max_batch_size=layout.max_rows,
            batching=DynamicBatching(),
        )
    )


def _write_ensemble(staging: Staging, classifier: Classifier, layout: ClassifierLayout) -> None:
    ensemble = classify_ensemble(token_types=classifier.token_types)
    config = ensemble_config(
        ensemble,
        version=staging.version,
        sizes=layout.sizes,
        max_batch_size=layout.max_rows,
        parameters={
            LABELS: json.dumps(classifier.labels, ensure_ascii=False),
            ACTIVATION: classifier.activation,
        },
    )
    staging.write_config(config)


def _origin(source: str) -> str:
    path = Path(source)
    return str(path.resolve()) if path.exists() else source
