from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from builder.export.graphs import EncoderGraph
from builder.export.layout import Layout, Limits
from builder.export.options import ModelLayout
from builder.model.recommender import Recommender
from builder.model.scoring import UserEncoderGraph
from model_repository.core.contract import ENCODER, USER_ENCODER, ModelSpec
from tests.graph_cache import ExportOnnx
from tests.shared import made_once
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
    model: Recommender,
    layout: Layout,
    graphs_exported_once: ExportOnnx,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[ModelSpec, Path]:
    """The FP32 graphs, as every target is given them."""
    directory = tmp_path_factory.mktemp("onnx")
    graphs = {ENCODER: EncoderGraph(model.encoder), USER_ENCODER: UserEncoderGraph(model.adapter)}
    files = {}
    for spec, graph in graphs.items():
        files[spec] = directory / f"{spec.name}.onnx"
        graphs_exported_once(graph, spec, layout.sizes, files[spec])
    return files


@pytest.fixture(scope="session")
def checkpoint(
    model: Recommender, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return made_once(
        tmp_path_factory, "untrained-run", lambda path: write_checkpoint(path, model, backbone)
    )


@pytest.fixture(scope="session")
def repositories(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What one checkpoint becomes in either layout; not to be changed."""

    def make(root: Path) -> None:
        for layout in get_args(ModelLayout):
            done = export(checkpoint, root / layout, embedded(layout=layout))
            (root / f"{layout}.json").write_text(json.dumps(done.to_dict()))

    root = made_once(tmp_path_factory, "exports", make)
    return {layout: root / layout for layout in get_args(ModelLayout)}
