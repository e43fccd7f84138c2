from __future__ import annotations

from pathlib import Path

import pytest

from builder.export.layout import Layout
from builder.export.onnx import export_onnx
from builder.export.pipeline import recommender_graphs
from builder.model.recommender import Recommender
from model_repository.core.contract import STEPS, ModelSpec
from tests.unit.model.conftest import backbone
from tests.unit.model.tiny import recommender
from tests.unit.steps.conftest import parts

__all__ = ["backbone", "parts"]

SPECS = {spec.name: spec for spec in STEPS}


@pytest.fixture(scope="session")
def model(backbone: Path) -> Recommender:
    return recommender(backbone)


@pytest.fixture(scope="session")
def layout(model: Recommender) -> Layout:
    return Layout.of(model, max_top_k=5, max_rows=4, max_users=2, bounded=True)


@pytest.fixture(scope="session")
def onnx_files(
    model: Recommender, layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> dict[ModelSpec, Path]:
    """The FP32 graphs, as the FP16 targets want them."""
    directory = tmp_path_factory.mktemp("onnx")
    files = {}
    for spec, graph in recommender_graphs(model, layout, "rows").items():
        files[spec] = directory / f"{spec.name}.onnx"
        export_onnx(graph, spec, layout.sizes, files[spec])
    return files
