from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.errors import ExportError
from builder.export.fp16 import MASK, convert_to_fp16
from builder.export.layout import Layout
from builder.export.onnx import NAME_SCOPES
from builder.export.parity import HALF
from builder.export.parity_inputs import encoder_inputs, user_encoder_inputs
from builder.model.recommender import Recommender
from model_repository.core.contract import ENCODER, USER_ENCODER, ModelSpec
from model_repository.engines.onnx import OnnxEngine

GRAPHS = [ENCODER, USER_ENCODER]
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}
PATH = "['', 'network', 'add']"


@pytest.fixture(scope="module")
def halves(
    onnx_files: dict[ModelSpec, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[ModelSpec, onnx.ModelProto]:
    found = {}
    for spec, file in onnx_files.items():
        half = tmp_path_factory.mktemp("half") / file.name
        convert_to_fp16(file, half)
        found[spec] = onnx.load(half)
    return found


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Type of every tensor; those of the casts that were put in are inferred."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.input, *graph.output)
    } | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize("spec", GRAPHS, ids=lambda spec: spec.name)
def test_the_types_of_every_node_agree(
    halves: dict[ModelSpec, onnx.ModelProto], spec: ModelSpec
) -> None:
    onnx.checker.check_model(halves[spec], full_check=True)
    known = types(halves[spec])
    for node in halves[spec].graph.node:
        used = {known[name] for name in node.input if known.get(name) in FLOATS}
        assert len(used) <= 1, f"{node.name} ({node.op_type}) mixes precisions"


@pytest.mark.parametrize("spec", GRAPHS, ids=lambda spec: spec.name)
def test_the_client_sees_fp32_and_the_networks_compute_in_fp16(
    halves: dict[ModelSpec, onnx.ModelProto], spec: ModelSpec
) -> None:
    graph = halves[spec].graph
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type != TensorProto.FLOAT16, value.name
    known = types(halves[spec])
    products = [node for node in graph.node if node.op_type in {"MatMul", "Gemm"}]
    assert any(known[node.output[0]] == TensorProto.FLOAT16 for node in products)
    for node in graph.node:
        if node.op_type == "LayerNormalization":
            assert {known[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT}


@pytest.mark.parametrize("spec", GRAPHS, ids=lambda spec: spec.name)
def test_both_precisions_give_the_same_answers(
    onnx_files: dict[ModelSpec, Path],
    halves: dict[ModelSpec, onnx.ModelProto],
    model: Recommender,
    layout: Layout,
    spec: ModelSpec,
    tmp_path: Path,
) -> None:
    onnx.save(halves[spec], tmp_path / "half.onnx")
    single, half = OnnxEngine(onnx_files[spec], 1), OnnxEngine(tmp_path / "half.onnx", 1)
    (output,) = (tensor.name for tensor in spec.outputs)
    grid = encoder_inputs if spec is ENCODER else user_encoder_inputs
    for inputs in grid(model, layout):
        expected, found = single.run(inputs)[output], half.run(inputs)[output]
        difference = np.abs(found - expected).max() / expected.std()
        assert 1e-6 < difference < HALF  # FP16 it is


@pytest.mark.parametrize("spec", GRAPHS, ids=lambda spec: spec.name)
def test_masks_are_finite_and_no_guard_is_left(
    halves: dict[ModelSpec, onnx.ModelProto], spec: ModelSpec
) -> None:
    graph = halves[spec].graph
    constants = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    assert all(np.isfinite(values).all() for values in constants)
    # The user encoder makes its mask outside of any submodule.
    kind = np.float16 if spec is ENCODER else np.float32
    assert any(values.dtype == kind and (values == MASK).any() for values in constants)
    assert "IsNaN" not in {node.op_type for node in graph.node}


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],  # type: ignore[type-arg]
) -> Path:
    """A graph X FP32 [n] → Y FP32 [n] whose nodes stem from a submodule."""
    for node in nodes:
        node.metadata_props.add(key=NAME_SCOPES, value=PATH)
    tensor = helper.make_tensor_value_info
    inner = {name for node in nodes for name in node.output} - {"Y"}
    graph = helper.make_graph(
        nodes,
        "graph",
        [tensor("X", TensorProto.FLOAT, ["n"])],
        [tensor("Y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
        value_info=[tensor(name, TensorProto.FLOAT, ["n"]) for name in sorted(inner)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path


def test_what_stems_from_no_submodule_stays_fp32(tmp_path: Path) -> None:
    """Such as the probabilities of a classifier."""
    source = write(
        tmp_path / "in.onnx",
        [
            helper.make_node("Mul", ["X", "two"], ["logit"], name="network"),
            helper.make_node("Sigmoid", ["logit"], ["Y"], name="own"),
        ],
        {"two": np.array([2.0], np.float32)},
    )
    model = onnx.load(source)
    model.graph.node[1].metadata_props[0].value = "['', 'sigmoid']"
    onnx.save(model, source)
    precision = convert_to_fp16(source, tmp_path / "out.onnx")
    assert (precision.half, precision.single) == (1, ("own",))
    known = types(onnx.load(tmp_path / "out.onnx"))
    assert known["logit"] == TensorProto.FLOAT16
    assert known["logit_single"] == known["Y"] == TensorProto.FLOAT


def test_a_node_whose_constant_fp16_would_lose_stays_fp32(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.onnx",
        [
            helper.make_node("Max", ["X", "tiny"], ["positive"], name="clamp"),
            helper.make_node("Div", ["one", "positive"], ["Y"], name="divide"),
        ],
        {"tiny": np.array(1e-9, np.float32), "one": np.array(1, np.float32)},
    )
    precision = convert_to_fp16(source, tmp_path / "out.onnx")
    assert precision.single == ("clamp",)
    # 1e-9 became 0 in the division alone, which is in FP16; the clamp kept it.
    found = OnnxEngine(tmp_path / "out.onnx", 1).run({"X": np.array([4.0], np.float32)})["Y"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 0.25)


def test_an_output_that_the_networks_read_on_is_cast_once(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.onnx",
        [
            helper.make_node("Mul", ["X", "two"], ["Y"], name="double"),
            helper.make_node("Add", ["Y", "two"], ["Z"], name="add"),
        ],
        {"two": np.array([2.0], np.float32)},
    )
    model = onnx.load(source)
    model.graph.output.append(helper.make_tensor_value_info("Z", TensorProto.FLOAT, ["n"]))
    onnx.save(model, source)
    convert_to_fp16(source, tmp_path / "out.onnx")
    half = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(half, full_check=True)
    assert [node.op_type for node in half.graph.node] == ["Cast", "Mul", "Cast", "Add", "Cast"]
    found = OnnxEngine(tmp_path / "out.onnx", 1).run({"X": np.array([3.0], np.float32)})
    assert {name: value.tolist() for name, value in found.items()} == {"Y": [6.0], "Z": [8.0]}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_weight_beyond_fp16_is_refused_by_name(tmp_path: Path, sign: int) -> None:
    source = write(
        tmp_path / "in.onnx",
        [helper.make_node("Mul", ["X", "huge"], ["Y"], name="scale")],
        {"huge": np.array([1.0, sign * 70_000.0], np.float32)},
    )
    with pytest.raises(ExportError, match=r"weight 'huge' reaches 7e\+04"):
        convert_to_fp16(source, tmp_path / "out.onnx")


def test_a_graph_within_a_graph_is_refused(tmp_path: Path) -> None:
    tensor = helper.make_tensor_value_info
    branch = helper.make_graph(
        [helper.make_node("Identity", ["X"], ["B"])],
        "branch",
        [],
        [tensor("B", TensorProto.FLOAT, ["n"])],
    )
    source = write(
        tmp_path / "in.onnx",
        [helper.make_node("If", ["yes"], ["Y"], name="either", then_branch=branch,
                          else_branch=branch)],
        {"yes": np.array(True)},
    )  # fmt: skip
    with pytest.raises(ExportError, match=r"node 'either' \(If\)"):
        convert_to_fp16(source, tmp_path / "out.onnx")
