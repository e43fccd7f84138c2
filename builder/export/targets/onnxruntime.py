"""``onnxruntime``: Triton's own ONNX Runtime backend, on the CPU or on a GPU.

The gates run the very file that is published, with the package onnxruntime on the CPU. Neither the
backend nor its CUDA provider is part of that, since both come with Triton's container.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any, Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.export.fp16 import convert_to_fp16
from builder.export.graph_files import copy_graph
from builder.export.layout import Layout
from builder.export.options import TargetOptions
from builder.export.parity import FLOAT, HALF
from builder.export.profiles import Shape, full_range
from builder.export.targets.base import Built
from builder.progress import Progress, silent
from builder.repository import Accelerator, Gpu, step_config
from model_repository.core.contract import USER_ENCODER, ModelSpec
from model_repository.engines.engine import Engine

GRAPH: Final = "model.onnx"
_INSTANCES: Final = 2
"""Of a network over texts, on the CPU; each has the weights in memory."""


class OnnxRuntime:
    """See `builder.export.targets.base.Target`. FP32 on the CPU, FP16 on a GPU."""

    name = "onnxruntime"
    summary = "Triton's ONNX Runtime backend in its container; CPU, or a GPU with --device"
    options = frozenset({"device", "index"})
    fused = None

    def __init__(self, options: TargetOptions | None = None) -> None:
        self._options = options or TargetOptions()
        self._device = self._options.device
        self.index = self._options.index
        gpu = self._device != "cpu"
        self.parity = HALF if gpu else FLOAT
        self.ranking_loss = 0.005 if gpu else 0.001

    def missing(self) -> str | None:
        if importlib.util.find_spec("onnxruntime") is None:
            return "the package onnxruntime: pip install 'tritonrec[builder]'"
        return None

    def build(
        self,
        onnx_file: Path,
        spec: ModelSpec,  # noqa: ARG002
        layout: Layout,  # noqa: ARG002
        directory: Path,
        *,
        progress: Progress = silent,  # noqa: ARG002
    ) -> Built:
        graph = directory / GRAPH
        started = time.monotonic()
        if self._device == "cpu":
            copy_graph(onnx_file, graph)
            return Built(graph)
        precision = convert_to_fp16(onnx_file, graph)
        return Built(graph, time.monotonic() - started, precision.to_dict())

    def load(self, spec: ModelSpec, directory: Path) -> Engine:  # noqa: ARG002
        from model_repository.engines.onnx import OnnxEngine

        return OnnxEngine(directory / GRAPH, None)

    def config(self, spec: ModelSpec, layout: Layout, version: int) -> ModelConfig:
        config = step_config(
            spec,
            backend="onnxruntime",
            version=version,
            sizes=layout.sizes,
            max_batch_size=layout.most(spec),
            batching=layout.batching(),
            # Threads of one run would spin while there is nothing to do, and the backend has no
            # option against it. So a run has one thread, and several run side by side.
            instances=max(
                layout.limits.instances,
                1 if spec is USER_ENCODER or self._device != "cpu" else _INSTANCES,
            ),
            gpu=None
            if self._device == "cpu"
            else Gpu(accelerators=self._accelerators(spec, layout)),
            parameters={"intra_op_thread_count": "1"} if self._device == "cpu" else None,
        )
        config.platform = "onnxruntime_onnx"
        return config

    def chosen(self) -> dict[str, Any]:
        return self._options.chosen(self.options)

    def describe(self) -> dict[str, Any]:
        import onnxruntime

        return {
            "engine": "onnxruntime",
            "version": onnxruntime.__version__,
            "precision": "fp32" if self._device == "cpu" else "fp16",
            "device": self._device,
        }

    def _accelerators(self, spec: ModelSpec, layout: Layout) -> tuple[Accelerator, ...]:
        if self._device != "cuda+tensorrt":
            return ()
        profile = full_range(spec, layout)
        ranges = {
            "min": {name: bounds.smallest for name, bounds in profile.items()},
            "opt": {name: bounds.usual for name, bounds in profile.items()},
            "max": {name: bounds.largest for name, bounds in profile.items()},
        }
        # Without the ranges each new shape would compile an engine, inside somebody's request.
        shapes = {f"trt_profile_{each}_shapes": _text(found) for each, found in ranges.items()}
        return (Accelerator("tensorrt", {"precision_mode": "FP16", **shapes}),)


def _text(shapes: dict[str, Shape]) -> str:
    """``INPUT_IDS:1x8,…`` as the TensorRT provider reads it."""
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
