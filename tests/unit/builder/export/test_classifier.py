"""Export to a repository, without the server: parity, gates, what is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from builder.classifier.checkpoint import Classifier
from builder.command_line import app
from builder.errors import ConfigError, GateError, RepositoryError
from builder.export import classifier as classifier_export
from builder.export.classifier import classifier
from builder.export.graphs import ClassifierGraph
from builder.export.layout import Limits
from builder.export.pipeline import SCHEMA, Exported, prove, publish
from builder.export.serving_code import PACKAGE
from builder.export.targets import CHECKS, TARGETS, Target, TargetOptions
from builder.repository import from_text, read_manifest
from builder.repository.family import check_family
from builder.repository.manifest import Manifest, VersionRecord, manifest_text
from model_repository.engines.onnx import OnnxEngine
from model_repository.steps.tokenizer import RequestTokenizer
from tests.shared import first_of
from tests.unit.builder.classifier.conftest import tiny
from tests.unit.builder.classifier.tiny import ARCHITECTURES, write_classifier
from tests.unit.builder.export.checkpoints import assert_no_path

__all__ = ["tiny"]

LIMITS = Limits(max_rows=4)


def embedded() -> Target:
    return TARGETS["embedded"]()


def published(source: Path, repository: Path, target: Target | None = None) -> Exported:
    return publish(classifier(str(source), LIMITS), repository, target or embedded())


@pytest.mark.parametrize("architecture", first_of(ARCHITECTURES))
def test_every_architecture_answers_as_transformers(
    architecture: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    done = published(tiny(architecture), tmp_path / "models")
    assert [(figure.model, figure.output) for figure in done.figures.parity] == [
        ("classifier", "PROBABILITY"),
        ("classifier", "PROBABILITY batched"),
        ("classifier", "texts"),
    ]
    assert all(figure.difference <= figure.bound == 1e-5 for figure in done.figures.parity)
    manifest = read_manifest(tmp_path / "models")
    record = manifest.versions[1]
    assert record.models == ("classifier", "classify", "pair_tokenizer")
    assert record.details["labels"] == ["no", "yes"]
    assert len(record.details["sha256"]) > 5
    assert (record.details["schema"], record.details["family"]) == (SCHEMA, "classifier")
    assert record.details["libraries"].keys() == {"numpy", "onnxruntime", "tokenizers"}
    assert json.loads(json.dumps(done.to_dict())) == {
        "repository": str(tmp_path / "models"),
        "version": 1,
        "target": "embedded",
        "labels": ["no", "yes"],
        "activation": "softmax",
        **done.figures.to_dict(),
    }
    for model in ("classifier", "pair_tokenizer"):
        assert (tmp_path / "models" / model / "1" / PACKAGE / "core/contract.py").is_file()
    assert_no_path(tmp_path / "models", tiny(architecture))
    text = (tmp_path / "models/classify/config.pbtxt").read_text("utf-8")
    parameters = from_text(text, "classify").parameters
    assert json.loads(parameters["labels"].string_value) == ["no", "yes"]
    assert parameters["activation"].string_value == "softmax"


@pytest.mark.parametrize(
    ("labels", "problem_type"),
    first_of(
        [
            (["a", "b", "c"], "multi_label_classification"),
            (["score"], None),
            (["stars"], "regression"),
            (["a", "b", "ç", "d", "e"], None),
        ]
    ),
)
def test_every_kind_of_label(tmp_path: Path, labels: list[str], problem_type: str | None) -> None:
    source = write_classifier(tmp_path / "c", labels=labels, problem_type=problem_type)
    done = published(source, tmp_path / "models")
    assert done.details["labels"] == labels
    engine = OnnxEngine(tmp_path / "models/classifier/1/model.onnx", 1)
    ids = np.array([[2, 9, 11, 3, 0], [2, 7, 3, 0, 0]], np.int32)
    found = engine.run({"INPUT_IDS": ids, "TOKEN_TYPE_IDS": np.zeros_like(ids)})["PROBABILITY"]
    assert found.shape == (2, len(labels))
    sums_to_one = np.allclose(found.sum(1), 1)
    assert sums_to_one is (done.details["activation"] == "softmax")
    if done.details["activation"] != "none":
        assert np.all((found >= 0) & (found <= 1))


@pytest.mark.parametrize("architecture", first_of(ARCHITECTURES))
def test_half_precision(architecture: str, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    target = TARGETS["onnxruntime"](TargetOptions(device="cuda"))
    done = published(tiny(architecture), tmp_path / "models", target)
    assert {figure.bound for figure in done.figures.parity} == {1e-2}
    assert max(figure.difference for figure in done.figures.parity) > 1e-5  # FP16 it is


@pytest.mark.parametrize("architecture", first_of(ARCHITECTURES))
def test_nvidias_builder_accepts_the_graph(
    architecture: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    check = CHECKS["tensorrt-rtx"]()
    if missing := check.missing():
        pytest.skip(missing)
    proof = prove(classifier(str(tiny(architecture)), LIMITS), tmp_path / "proof", check)
    assert proof.built["classifier"].file.stat().st_size > 0
    report = json.loads((tmp_path / "proof/report.json").read_text())
    assert report["published"] is report["executed"] is False


class Faulty:
    """An engine that is wrong in one respect."""

    def __init__(self, engine: Any, fault: str) -> None:
        self._engine = engine
        self._fault = fault

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        sent = dict(inputs)
        if self._fault == "types" and "TOKEN_TYPE_IDS" in sent:
            sent["TOKEN_TYPE_IDS"] = np.zeros_like(sent["TOKEN_TYPE_IDS"])
        found = dict(self._engine.run(sent))
        value = found["PROBABILITY"].copy()
        if self._fault == "batch" and len(value) > 1:
            value[-1] += 1e-3
        if self._fault == "nan":
            value[0, 0] = np.nan
        if self._fault == "shape":
            value = value[:, :1]
        return {"PROBABILITY": value}


FAULTS = dict.fromkeys(("types", "batch", "nan"), "1e-05 is allowed; nothing was published") | {
    "shape": r"has shape \(1, 1\), and PyTorch's has \(1, 2\); nothing was published"
}


@pytest.mark.parametrize("fault", first_of(list(FAULTS)))
def test_a_faulty_engine_is_not_published(
    fault: str, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = TARGETS["embedded"]
    load = kind.load
    monkeypatch.setattr(kind, "load", lambda *args: Faulty(load(*args), fault))
    with pytest.raises(GateError, match=FAULTS[fault]):
        published(tiny("bert"), tmp_path / "models")
    assert list(tmp_path.iterdir()) == []


def test_the_texts_find_what_the_shapes_cannot(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask of the wrong padding id is wrong in PyTorch's graph as well."""

    class WrongMask(ClassifierGraph):
        def __init__(self, classifier: Classifier) -> None:
            super().__init__(classifier)
            self.pad_id = -1

    monkeypatch.setattr(classifier_export, "ClassifierGraph", WrongMask)
    with pytest.raises(GateError, match=r"parity: classifier\.texts"):
        published(tiny("bert"), tmp_path / "models")


def test_a_text_of_no_tokens_is_served(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / "c")
    file = source / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": None}))
    done = published(source, tmp_path / "models")  # ("", "") is among the texts of the gate
    assert done.figures.parity[-1].difference <= 1e-5


def test_a_text_that_serving_refuses_fails_the_gate(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, requests: list[object]) -> list[Exception]:
        return [ValueError("no") for _ in requests]

    monkeypatch.setattr(RequestTokenizer, "__call__", refuse)
    with pytest.raises(GateError, match="serving refuses"):
        published(tiny("bert"), tmp_path / "models")


def test_the_families_do_not_mix(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    record = VersionRecord("2026-01-01", "embedded", "run", ("rank", "tokenizer"))
    models = tmp_path / "models"
    models.mkdir()
    (models / "manifest.json").write_text(manifest_text(Manifest(1, {1: record})))
    with pytest.raises(RepositoryError, match=r"holds a recommender, .* cannot be a classifier"):
        published(tiny("bert"), models)
    published(tiny("bert"), tmp_path / "other")
    with pytest.raises(RepositoryError, match=r"holds a classifier, .* cannot be a recommender"):
        check_family(tmp_path / "other", "recommender")
    check_family(tmp_path / "new", "recommender")


def test_the_next_version_may_have_other_labels(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    published(tiny("bert"), tmp_path / "models")
    source = write_classifier(tmp_path / "c", "distilbert", labels=["a", "b", "c"])
    assert published(source, tmp_path / "models").version == 2
    assert read_manifest(tmp_path / "models").active == 2


def test_limits(tiny: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="max_rows 0: must be at least 1"):
        classifier(str(tiny("bert")), Limits(max_rows=0))


def test_a_classifier_has_no_columns(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["export", "--classifier", str(tmp_path), "--attributes", "genre"]
    )
    assert isinstance(done.exception, ConfigError)
    assert "--attributes: a classifier has no items" in str(done.exception)


def test_options_of_recommenders_are_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["export", "--classifier", str(tmp_path), "--precision", "int8", "--index", "exact"]
    )
    assert isinstance(done.exception, ConfigError)
    assert "--index, --precision: only for a recommender" in str(done.exception)
