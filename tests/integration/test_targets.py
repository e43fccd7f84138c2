"""FP16 on real texts and at the size of BERT-base; what the targets build of a real run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from transformers import AutoModel, BertConfig, BertModel
from typer.testing import CliRunner

from builder.command_line import app
from builder.data import DataConfig, read
from builder.errors import ExportError, GateError
from builder.export.fp16 import convert_to_fp16
from builder.export.graphs import EncoderGraph
from builder.export.onnx import export_onnx
from builder.export.pipeline import REPORT, check_named, prove, target_named
from builder.export.recommender import recommender
from builder.export.targets import TargetOptions
from builder.export.targets.tensorrt import GRAPH, TensorRTRTX
from builder.model.text_encoder import TextEncoder
from builder.repository import from_text, read_manifest
from model_repository.core.contract import ENCODER
from model_repository.engines.onnx import OnnxEngine
from model_repository.engines.tokenizer import TextTokenizer
from tests.integration.small_run import LIMITS, export_run
from tests.shared import first_of

Array = NDArray[np.float32]
LONGEST = 512
LENGTHS = [*range(1, 17), 31, 32, 33, 64, 100, 128, 200, 256, 300, 384, 511, LONGEST]
LARGEST = float(np.finfo(np.float16).max)


def graphs(backbone: torch.nn.Module, pad_id: int, directory: Path) -> tuple[Path, Path]:
    """The FP32 and the FP16 graph of an encoder."""
    encoder = TextEncoder(backbone.eval(), pad_id)
    single, half = directory / "single.onnx", directory / "half.onnx"
    export_onnx(EncoderGraph(encoder), ENCODER, {"h": encoder.width}, single)
    convert_to_fp16(single, half)
    return single, half


@pytest.fixture(scope="module")
def real(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return graphs(AutoModel.from_pretrained(minilm), 0, tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twelve layers of 768, with weights of two and a half times the usual deviation."""
    torch.manual_seed(0)
    network = BertModel(BertConfig(vocab_size=2_000, initializer_range=0.05))
    return graphs(network, 0, tmp_path_factory.mktemp("base"))


def vectors(graph: Path, rows: list[list[int]], batch: int = 64) -> Array:
    engine = OnnxEngine(graph, None)
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    parts = [order[start : start + batch] for start in range(0, len(order), batch)]
    found: dict[int, Array] = {}
    for part in parts:
        ids = np.zeros((len(part), max(len(rows[at]) for at in part)), np.int32)
        for line, at in zip(ids, part, strict=True):
            line[: len(rows[at])] = rows[at]
        found |= dict(zip(part, engine.run({"INPUT_IDS": ids})["VECTOR"], strict=True))
    return np.stack([found[at] for at in range(len(rows))])


def cosines(left: Array, right: Array) -> NDArray[np.float64]:
    left, right = left.astype(np.float64), right.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    product: NDArray[np.float64] = (left * right).sum(1) / norms
    return product


@pytest.mark.sweep
def test_every_movielens_text_keeps_its_direction_in_fp16(
    real: tuple[Path, Path], movielens: Path, minilm: Path
) -> None:
    _, catalogue = read(DataConfig(movielens))
    texts = catalogue.texts
    assert len(texts) > 1_600
    rows = [row.tokens for row in TextTokenizer(minilm / "tokenizer.json", LONGEST)(texts)]
    single, half = (vectors(graph, rows) for graph in real)
    assert cosines(single, half).min() >= 0.9995


@pytest.mark.sweep
@pytest.mark.parametrize("network", ["real", "base"])
def test_texts_of_1_to_512_tokens_stay_finite(network: str, request: pytest.FixtureRequest) -> None:
    single, half = request.getfixturevalue(network)
    random = np.random.default_rng(0)
    rows = [random.integers(1, 2_000, length).tolist() for length in LENGTHS]
    expected, found = (vectors(graph, rows, batch=1) for graph in (single, half))
    assert np.isfinite(found).all()
    assert cosines(expected, found).min() >= 0.9995
    # A row of a batch is the row alone: its padding is masked, with a mask that FP16 holds.
    padded = vectors(half, rows[:8] + rows[-1:], batch=9)
    assert cosines(padded, np.concatenate([found[:8], found[-1:]])).min() >= 0.9995


@pytest.mark.sweep
@pytest.mark.parametrize("network", ["real", "base"])
def test_no_value_inside_comes_near_the_end_of_fp16(
    network: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """ONNX Runtime computes FP16 nodes in FP32 on a CPU, so it alone would not show an overflow."""
    single, half = request.getfixturevalue(network)
    inside = {
        value.name
        for value in onnx.load(half).graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    model = onnx.load(single)
    shown = [value for value in model.graph.value_info if value.name in inside]
    model.graph.output.extend(shown)
    onnx.save(model, tmp_path / "shown.onnx")
    engine = OnnxEngine(tmp_path / "shown.onnx", None)
    random = np.random.default_rng(1)
    peak = 0.0
    for length in (3, 64, LONGEST):
        ids = random.integers(1, 2_000, (1, length)).astype(np.int32)
        values = engine.run({"INPUT_IDS": ids})
        seen = [np.abs(values[value.name]) for value in shown]
        # A mask is no value: where it is -inf in FP32 it is -1e4 in FP16.
        peak = max(peak, *(float(np.where(np.isinf(each), 0, each).max()) for each in seen))
    assert 0 < peak < LARGEST / 16


@pytest.mark.sweep
def test_tensorrt_rtx_proves_the_graphs_and_publishes_nothing(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    where, repository = tmp_path / "proof", tmp_path / "models"
    done = CliRunner().invoke(
        app,
        ["export", "--checkpoint", str(run), "--target", "tensorrt-rtx", "--proof", str(where),
         "--repository", str(repository), "--max-rows", "16", "--max-top-k", "50"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Built 2 FP16 engines with tensorrt-rtx" in done.stdout
    assert "This is a proof and no repository" in done.stdout
    assert "nothing was published" in done.stdout
    assert not repository.exists()
    report = json.loads((where / REPORT).read_text())
    assert (report["published"], report["executed"]) == (False, False)
    for name in ("encoder", "user_encoder"):
        assert (where / name / "model.engine").stat().st_size == report["graphs"][name]["bytes"]
        assert (where / name / GRAPH).is_file()
    assert report["fp16_graphs_in_onnxruntime"]["ranking"]["relative_loss"] <= 0.005

    # Again is fine; over something else is not.
    (where / REPORT).unlink()
    check = check_named("tensorrt-rtx")
    exportable = recommender(run, check, LIMITS)
    with pytest.raises(ExportError, match="files that were not made by a check"):
        prove(exportable, where, check)


@pytest.mark.sweep
def test_a_graph_that_loses_too_much_in_fp16_fails_the_proof(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")

    class Strict(TensorRTRTX):
        parity = 1e-9

    exportable = recommender(run, Strict(), LIMITS)
    with pytest.raises(GateError, match=r"encoder\.VECTOR .* 1e-09 is allowed"):
        prove(exportable, tmp_path / "proof", Strict())
    assert json.loads((tmp_path / "proof" / REPORT).read_text()) == {"finished": False}


@pytest.mark.parametrize(("device", "precision"), first_of([("cpu", "fp32"), ("cuda", "fp16")]))
def test_onnxruntime_publishes_what_it_has_held_against_the_gates(
    run: Path, tmp_path: Path, device: str, precision: str
) -> None:
    options = TargetOptions(device=device)  # type: ignore[arg-type]
    export_run(run, tmp_path / "models", target=target_named("onnxruntime", options))
    record = read_manifest(tmp_path / "models").versions[1]
    assert record.details["engine"]["precision"] == precision
    for name in ("encoder", "user_encoder"):
        file = tmp_path / "models" / name / "1" / "model.onnx"
        assert record.details["engine"]["graphs"][name]["bytes"] == file.stat().st_size
        text = (tmp_path / "models" / name / "config.pbtxt").read_text()
        assert from_text(text, name).backend == "onnxruntime"
