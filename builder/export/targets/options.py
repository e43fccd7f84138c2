"""What may be chosen about a target."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal, get_args

from builder.errors import ConfigError

Device = Literal["cpu", "cuda", "cuda+tensorrt"]
DEVICES: Final = get_args(Device)
Hardware = Literal["none", "same_compute_capability", "ampere_plus"]
HARDWARE: Final = get_args(Hardware)

_LEVELS: Final = range(6)


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
    """

    device: Device = "cpu"
    optimization_level: int = 3
    workspace_mib: int = 4096
    timing_cache: Path | None = Path("build/tensorrt.timing")
    version_compatible: bool = False
    hardware_compatibility: Hardware = "none"

    def __post_init__(self) -> None:
        problems = []
        if self.device not in DEVICES:
            problems.append(f"--device {self.device}: choose one of {', '.join(DEVICES)}")
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

    def changed(self) -> frozenset[str]:
        """Names of the options that are not at their default."""
        default = TargetOptions()
        return frozenset(
            each.name
            for each in fields(self)
            if getattr(self, each.name) != getattr(default, each.name)
        )
