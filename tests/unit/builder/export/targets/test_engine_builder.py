"""The engine builder on NVIDIA's own parser and builder, in the package that needs no GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.errors import ExportError
from builder.export.layout import Layout
from builder.export.options import TargetOptions
from builder.export.profiles import Bounds, Profile
from builder.export.targets.engine_builder import build_engine
from builder.export.targets.tensorrt import GRAPH, TensorRTRTX
from builder.progress import Progress, silent
from model_repository.core.contract import ModelSpec

trt = pytest.importorskip("tensorrt_rtx")

SHAPES: Profile = {"X": Bounds((1, 4), (2, 4), (8, 4))}


def ampere(config: Any) -> None:
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)


def build(graph: Path, profile: Profile = SHAPES, progress: Progress = silent) -> bytes:
    engine, _ = build_engine(
        trt, graph, (profile,), TargetOptions(), configure=ampere, timing_cache=None,
        progress=progress, task="build",
    )  # fmt: skip
    return bytes(engine)


def write(path: Path, nodes: list[onnx.NodeProto], **constants: np.ndarray) -> Path:  # type: ignore[type-arg]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [tensor("X", TensorProto.FLOAT, ["n", 4])],
        [tensor("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path


@pytest.fixture
def product(tmp_path: Path) -> Path:
    return write(
        tmp_path / "product.onnx",
        [helper.make_node("MatMul", ["X", "W"], ["Y"], name="multiply")],
        W=np.eye(4, dtype=np.float32),
    )


@pytest.mark.sweep
def test_the_graphs_of_a_recommender_compile(
    onnx_files: dict[ModelSpec, Path], layout: Layout, tmp_path: Path
) -> None:
    target = TensorRTRTX()
    for spec, file in onnx_files.items():
        directory = tmp_path / spec.name
        directory.mkdir()
        built = target.build(file, spec, layout, directory)
        assert built.file.stat().st_size > 0
        assert (directory / GRAPH).is_file()
        found = json.loads(json.dumps(built.to_dict()))
        assert found["fp32_nodes"]["LayerNormalization"] > 0
        assert len(found["profiles"]) == len(layout.lengths(spec))


def test_an_operator_that_tensorrt_lacks_is_named_with_its_node(tmp_path: Path) -> None:
    graph = write(
        tmp_path / "added.onnx",
        [
            helper.make_node(
                "ScatterElements", ["X", "at", "X"], ["Y"], name="add_up", axis=1, reduction="add"
            )
        ],
        at=np.zeros((1, 4), np.int64),
    )
    with pytest.raises(ExportError, match=r"'added'.*\n.*'add_up' \(ScatterElements\).*reduction"):
        build(graph)


def test_a_mixture_of_precisions_is_refused(tmp_path: Path) -> None:
    graph = write(
        tmp_path / "mixed.onnx",
        [
            helper.make_node("Cast", ["X"], ["H"], name="narrow", to=TensorProto.FLOAT16),
            helper.make_node("Add", ["H", "stray"], ["Y"], name="add"),
        ],
        stray=np.ones(4, np.float32),
    )
    with pytest.raises(ExportError, match=r"tensorrt_rtx (cannot build|does not accept)"):
        build(graph)


def test_a_profile_that_the_graph_does_not_allow_has_tensorrts_reason(product: Path) -> None:
    with pytest.raises(ExportError, match="tensorrt_rtx cannot build an engine of 'product'"):
        build(product, {"X": Bounds((1, 5), (2, 5), (8, 5))})


def test_a_profile_out_of_order_is_refused(product: Path) -> None:
    with pytest.raises(ExportError, match="profile"):
        build(product, {"X": Bounds((8, 4), (2, 4), (1, 4))})


def test_progress_runs_to_its_end(product: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build(product, progress=lambda *step: seen.append(step))
    assert {task for task, _, _ in seen} == {"build"}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert all(done <= total for _, done, total in seen)


def test_an_interruption_ends_the_build_and_arrives(product: Path) -> None:
    def interrupt(_task: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(product, progress=interrupt)


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
def test_measured_kernel_times_are_written_and_read_again(product: Path, tmp_path: Path) -> None:
    """TensorRT-RTX measures nothing, but it has the calls."""
    cache = tmp_path / "not there yet" / "kernels.timing"
    for _ in range(2):
        build_engine(
            trt, product, (SHAPES,), TargetOptions(), configure=ampere, timing_cache=cache,
            progress=silent, task="build",
        )  # fmt: skip
        assert cache.read_bytes()
    assert [path.name for path in cache.parent.iterdir()] == ["kernels.timing"]


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
def test_an_engine_is_not_lost_where_kernel_times_cannot_be_kept(
    product: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    engine, _ = build_engine(
        trt, product, (SHAPES,), TargetOptions(), configure=ampere,
        timing_cache=tmp_path / "file" / "kernels.timing", progress=silent, task="build",
    )  # fmt: skip
    assert bytes(engine)
    assert "kernel times are not kept" in caplog.text
    assert "name another --timing-cache" in caplog.text
