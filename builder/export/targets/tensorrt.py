"""``tensorrt``: FP16 engines for Triton's TensorRT backend; ``tensorrt-rtx``: the same, as a check.

Both run the same code; what differs is the package that it is handed. TensorRT builds for the GPU
that it runs on and cannot do without one. TensorRT-RTX builds ahead of time for a GPU that need not
be there, so that NVIDIA's parser and builder see the graphs on any machine; but its engines load in
its own runtime alone, never in Triton, and even that runtime loads them on a GPU only.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import torch
from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.errors import ExportError
from builder.export.fp16 import SINGLE_OPS, convert_to_fp16
from builder.export.layout import Layout
from builder.export.options import TargetOptions
from builder.export.parity import HALF
from builder.export.profiles import profiles, to_json
from builder.export.targets.base import Built
from builder.export.targets.cuda_engine import CudaEngine
from builder.export.targets.engine_builder import build_engine
from builder.progress import Progress, silent
from builder.repository import CudaGraph, Gpu, QueuePolicy, step_config
from model_repository.core.contract import ModelSpec
from model_repository.engines.engine import Engine

PLAN: Final = "model.plan"
REPORT: Final = "layers.json"
GRAPH: Final = "graph.onnx"

_PACKAGES: Final = "tensorrt==11.2.1.2 (Triton 26.08) or tensorrt==10.16.1.11 (Triton 26.05)"
_QUEUE: Final = QueuePolicy(max_requests=1024)


class _Engines:
    """What the two have in common."""

    module: str
    fused = None
    parity = HALF
    ranking_loss = 0.005

    def __init__(self, options: TargetOptions | None = None) -> None:
        self._options = options or TargetOptions()
        self.index = self._options.index

    def _import(self) -> Any:
        return importlib.import_module(self.module)

    def _build(
        self,
        onnx_file: Path,
        spec: ModelSpec,
        layout: Layout,
        *,
        graph: Path,
        engine: Path,
        timing_cache: Path | None,
        progress: Progress,
    ) -> Built:
        """Write the FP16 graph and its engine."""
        precision = convert_to_fp16(onnx_file, graph)
        shapes = profiles(spec, layout)
        trt = self._import()
        plan, seconds = build_engine(
            trt,
            graph,
            shapes,
            self._options,
            configure=lambda config: self._configure(trt, config),
            timing_cache=timing_cache,
            progress=progress,
            task=f"build {spec.name}",
        )
        engine.write_bytes(plan)
        return Built(engine, seconds, {**precision.to_dict(), "profiles": to_json(shapes)})

    def _configure(self, trt: Any, config: Any) -> None:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        return {
            "version": self._import().__version__,
            "precision": "fp16",
            "fp32_operators": sorted(SINGLE_OPS),
            "optimization_level": self._options.optimization_level,
        }


class TensorRT(_Engines):
    """See `builder.export.targets.base.Target`.

    Engines are whole, not stripped of their weights to be refitted later. Refitting would spare a
    weekly retraining the choice of kernels, which the timing cache spares it as well; but a
    catalogue that grew has other shapes, which cannot be refitted; a refittable engine gives up
    folding weights; and Triton loads whole engines only.
    """

    name = "tensorrt"
    module = "tensorrt"
    summary = "TensorRT FP16 engines; built on the GPU that serves, in Triton's container"
    options = frozenset(
        {
            "index",
            "optimization_level",
            "workspace_mib",
            "timing_cache",
            "version_compatible",
            "hardware_compatibility",
        }
    )

    def missing(self) -> str | None:
        if importlib.util.find_spec(self.module) is None:
            return (
                f"the package tensorrt, in the version of Triton's container: {_PACKAGES}. "
                "Install it on the machine with the GPU that serves; without one, "
                "--target tensorrt-rtx shows whether the graphs compile"
            )
        if not torch.cuda.is_available():
            return (
                "an NVIDIA GPU that PyTorch can use: TensorRT builds and measures its kernels on "
                "the GPU that serves. Without one, --target tensorrt-rtx shows whether the graphs "
                "compile"
            )
        return None

    def build(
        self,
        onnx_file: Path,
        spec: ModelSpec,
        layout: Layout,
        directory: Path,
        *,
        progress: Progress = silent,
    ) -> Built:
        built = self._build(
            onnx_file,
            spec,
            layout,
            graph=onnx_file.with_name(f"{spec.name}_fp16.onnx"),
            engine=directory / PLAN,
            timing_cache=self._options.timing_cache,
            progress=progress,
        )
        (directory / REPORT).write_text(self._engine(directory).report(), "utf-8")
        return built

    def load(self, spec: ModelSpec, directory: Path) -> Engine:  # noqa: ARG002
        return self._engine(directory)

    def _engine(self, directory: Path) -> CudaEngine:
        return CudaEngine(self._import(), directory / PLAN)

    def _configure(self, trt: Any, config: Any) -> None:
        if self._options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if self._options.hardware_compatibility != "none":
            config.hardware_compatibility_level = getattr(
                trt.HardwareCompatibilityLevel, self._options.hardware_compatibility.upper()
            )

    def config(self, spec: ModelSpec, layout: Layout, version: int) -> ModelConfig:
        found = profiles(spec, layout)
        batches = _batches(layout.most(spec))
        graphs = [
            CudaGraph(rows, fewer + 1, {name: bounds.usual[1:] for name, bounds in profile.items()})
            for profile in found
            for fewer, rows in zip((0, *batches), batches, strict=False)
        ]
        config = step_config(
            spec,
            backend="tensorrt",
            version=version,
            sizes=layout.sizes,
            max_batch_size=layout.most(spec),
            batching=layout.batching(preferred=batches, queue=_QUEUE),
            instances=layout.limits.instances,
            gpu=Gpu(
                profiles=tuple(str(number) for number in range(len(found))),
                graphs=tuple(graphs),
            ),
        )
        config.platform = "tensorrt_plan"
        return config

    def chosen(self) -> dict[str, Any]:
        return self._options.chosen(self.options)

    def describe(self) -> dict[str, Any]:
        major, minor = torch.cuda.get_device_capability()
        return {
            "engine": "tensorrt",
            **super().describe(),
            "gpu": torch.cuda.get_device_name(),
            "compute_capability": f"{major}.{minor}",
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "version_compatible": self._options.version_compatible,
            "hardware_compatibility": self._options.hardware_compatibility,
        }


class TensorRTRTX(_Engines):
    """See `builder.export.targets.base.Check`."""

    name = "tensorrt-rtx"
    module = "tensorrt_rtx"
    summary = "check only: NVIDIA's parser and builder on the FP16 graphs, without a GPU"
    options = frozenset({"optimization_level", "workspace_mib"})
    compute_capability = "SM86"
    """Built for Ampere: which one does not matter to a proof."""

    def missing(self) -> str | None:
        if importlib.util.find_spec(self.module) is None:
            return "the package tensorrt-rtx: pip install 'tritonrec[tensorrt-rtx]'"
        return None

    def build(
        self,
        onnx_file: Path,
        spec: ModelSpec,
        layout: Layout,
        directory: Path,
        *,
        progress: Progress = silent,
    ) -> Built:
        return self._build(
            onnx_file,
            spec,
            layout,
            graph=directory / GRAPH,
            engine=directory / "model.engine",
            timing_cache=None,  # TensorRT-RTX measures no kernels ahead of time
            progress=progress,
        )

    def stand_in(self, spec: ModelSpec, directory: Path) -> Engine:  # noqa: ARG002
        from model_repository.engines.onnx import OnnxEngine

        return OnnxEngine(directory / GRAPH, None)

    def _configure(self, trt: Any, config: Any) -> None:
        config.num_compute_capabilities = 1
        capability = getattr(trt.ComputeCapability, self.compute_capability)
        if not config.set_compute_capability(capability, 0):
            raise ExportError(f"TensorRT-RTX does not build for {self.compute_capability}")

    def describe(self) -> dict[str, Any]:
        return {
            "engine": "tensorrt-rtx",
            **super().describe(),
            "compute_capability": self.compute_capability,
        }


def _batches(most: int) -> tuple[int, ...]:
    """1, 2, 4, … and `most`, where that is no power of two."""
    powers = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return (*powers, most)


def _driver() -> str | None:
    """Version of NVIDIA's driver; None where nvidia-smi does not tell."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    done = subprocess.run(
        [tool, "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    lines = done.stdout.split()
    return lines[0] if done.returncode == 0 and lines else None
