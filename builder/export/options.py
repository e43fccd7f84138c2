"""The options of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from builder.options import check, option

Device = Literal["cpu", "cuda", "cuda+tensorrt"]
DEVICES: Final = get_args(Device)
Hardware = Literal["none", "same_compute_capability", "ampere_plus"]
EngineName = Literal["auto", "onnxruntime", "openvino"]
ENGINES: Final = get_args(EngineName)
Precision = Literal["fp32", "bf16", "int8"]
ModelLayout = Literal["fused", "ensemble"]
LAYOUTS: Final = get_args(ModelLayout)
IndexName = Literal["auto", "exact", "approximate"]

_ENGINE_OF: Final[Mapping[str, str]] = {"bf16": "openvino", "int8": "onnxruntime"}


@dataclass(frozen=True)
class FusedOptions:
    """What is chosen about the fused layout alone, see `TargetOptions`."""

    engine: EngineName
    precision: Precision


@dataclass(frozen=True)
class TargetOptions:
    """Options of all targets; each reads those that it names in ``options``."""

    layout: ModelLayout = option(
        "fused",
        "embedded: fused (rank, recommend and encode each run in one process: several times "
        "faster) or ensemble (a model for each step, as in the container).",
    )
    engine: EngineName = option(
        "onnxruntime",
        "embedded, fused: runtime of BERT; auto takes the faster of the two on this machine. "
        "The server needs it too.",
    )  # not auto, since a server then needs OpenVINO as well, for the 2 % that it was faster
    precision: Precision = option(
        "fp32",
        "embedded, fused: precision of BERT. bf16 is for OpenVINO on processors with "
        "instructions for it; int8 is for ONNX Runtime, with weights quantised per channel.",
    )
    index: IndexName = option(
        "auto",
        "How recommend searches the catalogue: exact; approximate (a FAISS index, `pip "
        "install 'tritonrec[index]'`, published only if it finds .99 of the best 100 items); "
        "or auto: exact below 50,000 items. The server needs FAISS too.",
    )
    device: Device = option(
        "cpu",
        "onnxruntime: device of Triton's backend. With cuda+tensorrt the server compiles "
        "parts of the graph with TensorRT when it loads the model.",
    )
    optimization_level: int = option(
        3, "tensorrt: 0 (builds fast) to 5 (tries most kernels).", at_least=0, below=6
    )
    workspace_mib: int = option(
        4096, "tensorrt: largest GPU memory for the intermediate results of a kernel.", at_least=1
    )
    timing_cache: Path | None = option(
        Path("build/tensorrt.timing"),
        "tensorrt: file of measured kernel times, kept between builds.",
    )
    version_compatible: bool = option(
        False,  # noqa: FBT003 - the default
        "tensorrt: later versions of TensorRT load the engine too.",
        flag="--version-compatible",
    )  # fmt: skip
    hardware_compatibility: Hardware = option(
        "none",
        "tensorrt: GPUs that the engine runs on: GPUs like the one that built it, all of the "
        "same compute capability, or all from Ampere on. The wider the range, the slower the "
        "engine.",
    )

    def __post_init__(self) -> None:
        problems = []
        wanted = _ENGINE_OF.get(self.precision)
        if wanted is not None and self.engine not in ("auto", wanted):
            problems.append(f"--precision {self.precision} takes --engine {wanted}")
        if self.layout == "ensemble" and (self.engine, self.precision) != ("onnxruntime", "fp32"):
            problems.append("--engine and --precision are for --layout fused")
        check(self, "export options", problems)

    def chosen(self, names: frozenset[str]) -> dict[str, Any]:
        """The values of these options, as JSON has them."""
        values = {name: getattr(self, name) for name in sorted(names)}
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in values.items()
        }

    def changed(self) -> frozenset[str]:
        """Names of the options that are not at their default."""
        default = TargetOptions()
        return frozenset(
            each.name
            for each in fields(self)
            if getattr(self, each.name) != getattr(default, each.name)
        )
