"""``embedded``: ONNX Runtime inside Triton's Python backend. Any machine with pip; no GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.export.graphs import LinearForm
from builder.export.layout import Layout
from builder.export.parity import Bound, Engine
from builder.export.targets.base import Built
from builder.export.targets.options import FusedOptions, TargetOptions
from builder.progress import Progress, silent
from builder.repository import DynamicBatching, step_config
from model_repository.core.contract import ModelSpec
from model_repository.steps import install_step

GRAPH: Final = "model.onnx"


class Embedded:
    """See `builder.export.targets.base.Target`."""

    name = "embedded"
    summary = "ONNX Runtime in Triton's Python backend; any machine, no GPU, no container"
    options = frozenset({"layout", "engine", "precision", "index"})
    linear_form: LinearForm = "scatter_add"
    bounded = False
    parity = Bound()

    def __init__(self, options: TargetOptions | None = None) -> None:
        chosen = options or TargetOptions()
        self.fused = (
            FusedOptions(chosen.engine, chosen.precision, chosen.index)
            if chosen.layout == "fused"
            else None
        )
        self.ranking_loss = 0.001 if chosen.precision == "fp32" else 0.005

    def missing(self) -> str | None:
        if importlib.util.find_spec("onnxruntime") is None:
            return "the package onnxruntime: pip install 'tritonrec[embedded]'"
        return None

    def build(
        self,
        onnx_file: Path,
        spec: ModelSpec,
        layout: Layout,  # noqa: ARG002
        directory: Path,
        *,
        progress: Progress = silent,  # noqa: ARG002
    ) -> Built:
        install_step(spec.name, directory)
        shutil.copyfile(onnx_file, directory / GRAPH)
        settings = {"threads": _threads(spec)}
        (directory / "settings.json").write_text(json.dumps(settings, indent=2), "utf-8")
        return Built(directory / GRAPH)

    def load(self, spec: ModelSpec, directory: Path) -> Engine:
        from model_repository.engines.onnx import OnnxEngine

        return OnnxEngine(directory / GRAPH, _threads(spec))

    def config(self, spec: ModelSpec, layout: Layout, version: int) -> ModelConfig:
        return step_config(
            spec,
            backend="python",
            version=version,
            sizes=layout.sizes,
            max_batch_size=layout.max_rows if spec.batched else 0,
            batching=DynamicBatching() if spec.batched else None,
        )

    def describe(self) -> dict[str, Any]:
        import onnxruntime

        precision = self.fused.precision if self.fused else "fp32"
        return {
            "engine": "onnxruntime",
            "version": onnxruntime.__version__,
            "precision": precision,
        }


def _threads(spec: ModelSpec) -> int | None:
    """All cores for BERT; the small graphs are done before a second thread wakes."""
    return os.cpu_count() if spec.batched else 1
