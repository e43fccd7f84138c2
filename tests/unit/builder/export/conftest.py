from __future__ import annotations

from pathlib import Path

import pytest

from builder.export.graphs import EncoderGraph
from builder.export.layout import Layout, Limits
from builder.export.onnx import export_onnx
from builder.export.pipeline import Exported
from builder.model.recommender import Recommender
from builder.model.scoring import UserEncoderGraph
from model_repository.core.contract import ENCODER, USER_ENCODER, ModelSpec
from tests.unit.builder.export.checkpoints import embedded, export, write_checkpoint
from tests.unit.builder.model.conftest import backbone
from tests.unit.builder.model.tiny import recommender
from tests.unit.model_repository.conftest import parts

__all__ = ["backbone", "parts"]


@pytest.fixture(scope="session")
def model(backbone: Path) -> Recommender:
    return recommender(backbone)


@pytest.fixture(scope="session")
def layout(model: Recommender) -> Layout:
    return Layout.of_recommender(model, Limits(max_top_k=5, max_rows=4, max_users=2))


@pytest.fixture(scope="session")
def onnx_files(
    model: Recommender, layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> dict[ModelSpec, Path]:
    """The FP32 graphs, as every target is given them."""
    directory = tmp_path_factory.mktemp("onnx")
    graphs = {ENCODER: EncoderGraph(model.encoder), USER_ENCODER: UserEncoderGraph(model.adapter)}
    files = {}
    for spec, graph in graphs.items():
        files[spec] = directory / f"{spec.name}.onnx"
        export_onnx(graph, spec, layout.sizes, files[spec])
    return files


@pytest.fixture(scope="session")
def checkpoint(
    model: Recommender, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint", model, backbone)


@pytest.fixture(scope="session")
def exported(checkpoint: Path) -> dict[str, Exported]:
    """What one checkpoint becomes in either layout."""
    return {
        layout: export(checkpoint, checkpoint.parent / layout, embedded(layout=layout))
        for layout in ("fused", "ensemble")
    }


@pytest.fixture(scope="session")
def repositories(exported: dict[str, Exported]) -> dict[str, Path]:
    """Not to be changed."""
    return {layout: done.repository for layout, done in exported.items()}
