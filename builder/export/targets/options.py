"""What may be chosen about a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from builder.errors import ConfigError

Device = Literal["cpu", "cuda", "cuda+tensorrt"]
DEVICES: Final = get_args(Device)
Hardware = Literal["none", "same_compute_capability", "ampere_plus"]
HARDWARE: Final = get_args(Hardware)
EngineName = Literal["auto", "onnxruntime", "openvino"]
ENGINES: Final = get_args(EngineName)
Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: Final = get_args(Precision)
ModelLayout = Literal["fused", "ensemble"]
LAYOUTS: Final = get_args(ModelLayout)
IndexName = Literal["auto", "exact", "approximate"]
INDICES: Final = get_args(IndexName)

_ENGINE_OF: Final[Mapping[str, str]] = {"bf16": "openvino", "int8": "onnxruntime"}
_LEVELS: Final = range(6)


@dataclass(frozen=True)
class FusedOptions:
    """What is chosen about the fused layout alone, see `TargetOptions`."""

    engine: EngineName
    precision: Precision


@dataclass(frozen=True)
class TargetOptions:
    """Options of all targets; each reads those that it names in ``options``.

    Attributes
    ----------
    device
        Where Triton's ONNX Runtime backend computes; ``cuda+tensorrt`` lets it compile parts of the
        graph with TensorRT when the server loads it.
    optimization_level
        TensorRT's builder level, 0 to 5: how many kernels are tried, and so how long a build takes.
    workspace_mib
        Most GPU memory that one kernel may use for its intermediate results.
    timing_cache
        File of measured kernel times, read and extended by each build; None keeps none.
    version_compatible
        The engine carries a small runtime of its own, so that later TensorRT versions load it.
    hardware_compatibility
        GPUs that the engine runs on: those like the one it was built on (``none``), all of the same
        compute capability, or all from Ampere on. The wider, the slower.
    layout
        Whether a recommender's models are one process each or ensembles of steps.
    engine
        What runs BERT in the fused layout; ``auto`` is the faster of those installed. Not the
        default, since a server then needs OpenVINO as well, for the 2 % that it was faster.
    precision
        What BERT computes in, in the fused layout: ``bf16`` with OpenVINO on processors that have
        instructions for it, ``int8`` with ONNX Runtime and weights quantised for each channel.
    index
        How ``recommend`` searches the catalogue: all of it (``exact``), with an index of
        FAISS (``approximate``), or whichever suits its size (``auto``).
    """

    device: Device = "cpu"
    optimization_level: int = 3
    workspace_mib: int = 4096
    timing_cache: Path | None = Path("build/tensorrt.timing")
    version_compatible: bool = False
    hardware_compatibility: Hardware = "none"
    layout: ModelLayout = "fused"
    engine: EngineName = "onnxruntime"
    precision: Precision = "fp32"
    index: IndexName = "auto"

    def __post_init__(self) -> None:
        problems = []
        for name, allowed in (
            ("layout", LAYOUTS),
            ("engine", ENGINES),
            ("precision", PRECISIONS),
            ("index", INDICES),
            ("device", DEVICES),
        ):
            if (value := getattr(self, name)) not in allowed:
                problems.append(f"--{name} {value}: choose one of {', '.join(allowed)}")
        wanted = _ENGINE_OF.get(self.precision)
        if wanted is not None and self.engine not in ("auto", wanted):
            problems.append(f"--precision {self.precision} takes --engine {wanted}")
        if self.layout == "ensemble" and (self.engine, self.precision) != ("onnxruntime", "fp32"):
            problems.append("--engine and --precision are for --layout fused")
        if self.optimization_level not in _LEVELS:
            problems.append(f"--optimization-level {self.optimization_level}: must be 0 to 5")
        if self.workspace_mib < 1:
            problems.append(f"--workspace-mib {self.workspace_mib}: must be at least 1")
        if self.hardware_compatibility not in HARDWARE:
            problems.append(
                f"--hardware-compatibility {self.hardware_compatibility}: choose one of "
                f"{', '.join(HARDWARE)}"
            )
        if problems:
            raise ConfigError("; ".join(problems))

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
