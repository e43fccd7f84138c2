"""The export of a sequence classifier."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from builder.classifier.checkpoint import Classifier, load_classifier, load_examples
from builder.export import golden
from builder.export.classifier_gates import check_texts, samples
from builder.export.exportable import DirectoryOf, EngineOf, Exportable, Figures
from builder.export.graphs import ClassifierGraph
from builder.export.layout import Layout, Limits
from builder.export.parity import check_parity, in_values
from builder.export.parity_inputs import classifier_inputs
from builder.export.serving_code import install
from builder.export.targets import Compiler, Target
from builder.progress import Progress, silent
from builder.repository import Staging
from builder.repository.golden import GoldenRequest
from model_repository.core.contract import ACTIVATION, CLASSIFY, LABELS, PROBABILITY, classify_steps
from model_repository.steps.tokenizer import RequestTokenizer, load

_EXAMPLES: Final = 100
"""Texts of the checkpoint's own validation data that the gate goes through, at most."""
_BOUND: Final = {"fp32": 1e-5}
_REDUCED_PRECISION_BOUND: Final = 1e-2


def classifier(source: str, limits: Limits = Limits()) -> ClassifierExport:  # noqa: B008 - frozen
    """The export of an ``AutoModelForSequenceClassification``, by directory or hub name.

    Of `limits` only ``max_rows`` matters, the texts of one request.

    Raises
    ------
    CheckpointError
        `source` is no classifier that can be served.
    """
    found = load_classifier(source)
    return ClassifierExport(found, Layout.of_classifier(found, limits))


class ClassifierExport(Exportable):
    """A classifier: ``classify`` is an ensemble of its tokenizer and its network."""

    family = "classifier"

    def __init__(self, found: Classifier, layout: Layout) -> None:
        self._classifier = found
        self._steps = classify_steps(token_types=found.token_types)
        self._tokenizer, self._network = self._steps.steps
        super().__init__(_origin(found.source), layout, {self._network: ClassifierGraph(found)})

    def write(self, target: Target, staging: Staging, *, progress: Progress = silent) -> None:  # noqa: ARG002
        directory = staging.model_dir(self._tokenizer.name)
        install(directory, ["tokenizers"])
        self._write_tokenizer(directory)
        self.configure(staging, self._tokenizer)
        staging.write_config(target.config(self._network, self.layout, staging.version))
        self.configure_ensemble(
            staging,
            self._steps,
            {
                LABELS: json.dumps(self._classifier.labels, ensure_ascii=False),
                ACTIVATION: self._classifier.activation,
            },
        )

    def hold(
        self,
        engine_of: EngineOf,
        compiler: Compiler,
        directory_of: DirectoryOf | None,
        *,
        progress: Progress = silent,
    ) -> Figures:
        bound = _BOUND.get(compiler.describe()["precision"], _REDUCED_PRECISION_BOUND)
        engine, found = engine_of(self._network), self._classifier
        points = list(classifier_inputs(found, self.layout, self._network))
        graph = self.graphs[self._network]
        parity = check_parity(
            engine, graph, self._network, points, in_values, bound, progress=progress
        )
        texts = [*samples(found.max_length), *load_examples(found.source)[:_EXAMPLES]]
        tokenize = self._served_tokenizer(directory_of)
        parity.append(check_texts(engine, tokenize, found, texts, bound, progress=progress))
        return Figures(parity)

    def golden(
        self,
        engine_of: EngineOf,  # noqa: ARG002
        directory_of: DirectoryOf,  # noqa: ARG002
    ) -> list[GoldenRequest]:
        return [golden.of_text(CLASSIFY.name, PROBABILITY, len(self._classifier.labels))]

    def details(self) -> dict[str, Any]:
        return {LABELS: list(self._classifier.labels), ACTIVATION: self._classifier.activation}

    def _served_tokenizer(self, directory_of: DirectoryOf | None) -> RequestTokenizer:
        if directory_of is not None:
            return load(directory_of(self._tokenizer.name), self._tokenizer.name)
        with TemporaryDirectory() as scratch:
            self._write_tokenizer(Path(scratch))
            return load(Path(scratch), self._tokenizer.name)

    def _write_tokenizer(self, directory: Path) -> None:
        self._classifier.tokenizer.backend_tokenizer.save(str(directory / "tokenizer.json"))
        self.write_tokenizer_settings(
            directory, self._classifier.pad_id, token_types=self._classifier.token_types
        )


def _origin(source: str) -> str:
    path = Path(source)
    return str(path.resolve()) if path.exists() else source
