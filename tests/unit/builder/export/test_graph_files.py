"""Graphs whose weights are too large for their own file: every target takes them along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.export import graph_files
from builder.export.classifier import classifier
from builder.export.graph_files import copy_graph, graph_bytes, save_graph, weights_beside
from builder.export.pipeline import check_named, prove, publish, target_named
from builder.export.recommender import recommender
from builder.export.targets import TargetOptions
from builder.repository import read_manifest
from model_repository.engines.onnx import OnnxEngine
from tests.shared import first_of
from tests.unit.builder.classifier.tiny import write_classifier
from tests.unit.builder.export.checkpoints import LIMITS, export

WIDTH = 32


@pytest.fixture(autouse=True)
def low_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_files, "LARGEST", 2_000)


def graph() -> onnx.ModelProto:
    weights = np.arange(WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH)
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", WIDTH])
        for name in ("IN", "OUT")
    ]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["IN", "weights"], ["OUT"])],
            "matrix",
            tensors[:1],
            tensors[1:],
            [numpy_helper.from_array(weights, "weights")],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


def test_weights_lie_beside_the_graph_and_travel_with_it(tmp_path: Path) -> None:
    source, copied = tmp_path / "one.onnx", tmp_path / "elsewhere/model.onnx"
    copied.parent.mkdir()
    save_graph(graph(), source)
    save_graph(graph(), source)  # replaces, and does not append
    assert weights_beside(source).stat().st_size == WIDTH * WIDTH * 4 < graph_bytes(source)
    copy_graph(source, copied)
    source.unlink()
    weights_beside(source).unlink()
    ones = {"IN": np.ones((1, WIDTH), np.float32)}
    sums = np.arange(WIDTH * WIDTH).reshape(WIDTH, WIDTH).sum(0)
    np.testing.assert_array_equal(OnnxEngine(copied, 1).run(ones)["OUT"][0], sums)


def test_a_small_graph_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_files, "LARGEST", WIDTH * WIDTH * 4)
    save_graph(graph(), tmp_path / "one.onnx")
    copy_graph(tmp_path / "one.onnx", tmp_path / "two.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.onnx", "two.onnx"]


@pytest.mark.parametrize(
    ("target", "options", "directory"),
    first_of(
        [
            ("embedded", {"precision": "int8"}, "encode"),
            ("embedded", {}, "encode"),
            ("embedded", {"engine": "openvino"}, "encode"),
            ("embedded", {"layout": "ensemble"}, "encoder"),
            ("onnxruntime", {}, "encoder"),
            ("onnxruntime", {"device": "cuda"}, "encoder"),
        ]
    ),
)
def test_every_target_publishes_them(
    target: str, options: dict[str, Any], directory: str, checkpoint: Path, tmp_path: Path
) -> None:
    done = export(checkpoint, tmp_path, target_named(target, TargetOptions(**options)))
    beside = weights_beside(tmp_path / directory / "1/model.onnx")
    assert beside.stat().st_size > 1_000
    details = read_manifest(tmp_path).versions[done.version].details
    assert f"{directory}/{beside.name}" in details["sha256"]
    assert details["engine"]["graphs"][directory]["bytes"] > beside.stat().st_size


@pytest.mark.sweep
def test_a_check_compiles_them(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    check = check_named("tensorrt-rtx")
    prove(recommender(checkpoint, check, LIMITS), tmp_path / "proof", check)
    assert weights_beside(tmp_path / "proof/encoder/graph.onnx").is_file()


def test_a_classifier_is_published_with_them(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / "c", labels=["no", "yes"])
    target = target_named("embedded")
    publish(classifier(str(source), LIMITS), tmp_path / "models", target)
    assert weights_beside(tmp_path / "models/classifier/1/model.onnx").is_file()
