"""Graphs that many tests export are exported once: each takes PyTorch seconds, however small."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pickle import PicklingError

import pytest
import torch
from torch import nn

from builder.export import exportable, graph_files, onnx, recommender
from model_repository.core.contract import ModelSpec
from tests.shared import made_once

ExportOnnx = Callable[[nn.Module, ModelSpec, Mapping[str, int], Path], None]


@pytest.fixture(scope="session", autouse=True)
def graphs_exported_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExportOnnx]:
    """Copies a graph that any test of this run has exported from an equal module.

    It is put in place of `export_onnx`, and is the fixture's value.

    A test that changes what a graph computes makes a class of its own, which is not remembered.
    """

    def export_onnx(
        module: nn.Module, spec: ModelSpec, sizes: Mapping[str, int], destination: Path
    ) -> None:
        content = io.BytesIO()
        try:
            # Of a graph that is too large for its file the weights lie beside it.
            of = (module.eval(), spec, dict(sizes), graph_files.LARGEST)
            torch.save(of, content)
        except (AttributeError, PicklingError):  # a class within a test
            return onnx.export_onnx(module, spec, sizes, destination)
        key = hashlib.sha256(content.getvalue()).hexdigest()

        def make(directory: Path) -> None:
            directory.mkdir()
            onnx.export_onnx(module, spec, sizes, directory / destination.name)

        made = made_once(tmp_path_factory, f"{key}-{destination.name}", make)
        for file in made.iterdir():
            shutil.copyfile(file, destination.with_name(file.name))
        return None

    with pytest.MonkeyPatch.context() as patch:
        for user in (exportable, recommender):
            patch.setattr(user, "export_onnx", export_onnx)
        yield export_onnx
