"""``embedded``: ONNX Runtime inside Triton's Python backend. Any machine with pip; no GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.export.graph_files import copy_graph
from builder.export.layout import Layout
from builder.export.options import FusedOptions, TargetOptions
from builder.export.parity import FLOAT
from builder.export.serving_code import install, write_json
from builder.export.targets.base import Built
from builder.progress import Progress, silent
from builder.repository import step_config
from model_repository.core.contract import USER_ENCODER, ModelSpec
from model_repository.engines.engine import Engine
from model_repository.engines.settings import SETTINGS

GRAPH: Final = "model.onnx"


class Embedded:
    """See `builder.export.targets.base.Target`."""

    name = "embedded"
    summary = "ONNX Runtime in Triton's Python backend; any machine, no GPU, no container"
    options = frozenset({"layout", "engine", "precision", "index"})
    parity = FLOAT

    def __init__(self, options: TargetOptions | None = None) -> None:
        self._options = chosen = options or TargetOptions()
        self.index = chosen.index
        self.fused = (
            FusedOptions(chosen.engine, chosen.precision) if chosen.layout == "fused" else None
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
        layout: Layout,
        directory: Path,
        *,
        progress: Progress = silent,  # noqa: ARG002
    ) -> Built:
        install(directory, ["onnxruntime"])
        copy_graph(onnx_file, directory / GRAPH)
        inputs = {tensor.name for tensor in spec.inputs}
        settings = {
            "threads": _threads(spec),
            "largest": {name: most for name, most in layout.largest.items() if name in inputs},
            "longest": layout.lengths(spec)[-1],
        }
        write_json(directory / SETTINGS, settings)
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
            max_batch_size=layout.most(spec),
            batching=layout.batching(),
            instances=layout.limits.instances,
        )

    def chosen(self) -> dict[str, Any]:
        return self._options.chosen(self.options)

    def describe(self) -> dict[str, Any]:
        import onnxruntime

        precision = self.fused.precision if self.fused else "fp32"
        return {
            "engine": "onnxruntime",
            "version": onnxruntime.__version__,
            "precision": precision,
        }


def _threads(spec: ModelSpec) -> int | None:
    """All cores of the server for BERT; the other network is done before a second thread wakes."""
    return 1 if spec is USER_ENCODER else None
