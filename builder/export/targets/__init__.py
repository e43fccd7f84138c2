"""The targets and checks, by name. A new one is a module here and a line below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from builder.export.options import FusedOptions, TargetOptions
from builder.export.targets.base import Built, Check, Compiler, Target
from builder.export.targets.embedded import Embedded
from builder.export.targets.onnxruntime import OnnxRuntime
from builder.export.targets.tensorrt import TensorRT, TensorRTRTX

TARGETS: Final[Mapping[str, type[Target]]] = {
    "embedded": Embedded,
    "onnxruntime": OnnxRuntime,
    "tensorrt": TensorRT,
}
CHECKS: Final[Mapping[str, type[Check]]] = {"tensorrt-rtx": TensorRTRTX}

__all__ = [
    "CHECKS",
    "TARGETS",
    "Built",
    "Check",
    "Compiler",
    "FusedOptions",
    "Target",
    "TargetOptions",
]
