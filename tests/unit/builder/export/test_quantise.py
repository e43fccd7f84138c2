"""Matrices in INT8: what smoothing leaves as it was, and what it saves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from builder.export.quantise import quantise, smooth

WIDTH, ROWS = 32, 20
RANDOM = np.random.default_rng(0)


@pytest.fixture
def model() -> onnx.ModelProto:
    """Two matrices that read the same tensor, and one that reads the first one's result."""
    weights = {
        name: RANDOM.normal(size=(WIDTH, WIDTH)).astype(np.float32)
        for name in ("first", "second", "third")
    }
    nodes = [
        helper.make_node("MatMul", ["IN", "first"], ["inner"], name="a"),
        helper.make_node("MatMul", ["IN", "second"], ["B"], name="b"),
        helper.make_node("MatMul", ["inner", "third"], ["A"], name="c"),
    ]
    graph = helper.make_graph(
        nodes,
        "matrices",
        [helper.make_tensor_value_info("IN", TensorProto.FLOAT, ["rows", WIDTH])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", WIDTH])
            for name in ("A", "B")
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made)
    return made


def texts() -> NDArray[np.float32]:
    """With one channel that is much larger than the others, as a BERT has some."""
    values = RANDOM.normal(size=(ROWS, WIDTH)).astype(np.float32)
    values[:, 3] *= 40
    return values


def run(model: onnx.ModelProto | Path, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(["A", "B"], {"IN": values})
    return found


def test_smoothing_changes_weights_and_no_result(model: onnx.ModelProto) -> None:
    smoothed = onnx.ModelProto()
    smoothed.CopyFrom(model)
    smooth(smoothed, [{"IN": texts()} for _ in range(3)])
    onnx.checker.check_model(smoothed)
    values = texts()
    for found, expected in zip(run(smoothed, values), run(model, values), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert sum(node.op_type == "Mul" for node in smoothed.graph.node) == 2  # one for each tensor
    for before, after in zip(model.graph.initializer, smoothed.graph.initializer, strict=False):
        assert not np.allclose(numpy_helper.to_array(before), numpy_helper.to_array(after))


def test_smoothed_matrices_are_off_by_less(model: onnx.ModelProto, tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    onnx.save(model, source)
    quantize_dynamic(source, tmp_path / "plain.onnx", per_channel=True, weight_type=QuantType.QInt8)
    quantise(source, tmp_path / "ours.onnx", [{"IN": texts()} for _ in range(3)], vnni=True)
    operators = {node.op_type for node in onnx.load(tmp_path / "ours.onnx").graph.node}
    assert "MatMulInteger" in operators
    assert "MatMul" not in operators
    values = texts()
    exact = run(model, values)
    plain, ours = (
        [
            np.abs(found - right).mean()
            for found, right in zip(run(file, values), exact, strict=True)
        ]
        for file in (tmp_path / "plain.onnx", tmp_path / "ours.onnx")
    )
    assert (np.array(ours) < 0.5 * np.array(plain)).all(), (ours, plain)
