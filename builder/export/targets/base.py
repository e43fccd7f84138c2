"""What a target is: one way to turn the ONNX graphs into models that Triton runs.

Two kinds of it:

* A `Target` builds what Triton serves. Its engines are loaded and held against the gates, and an
  export publishes them.
* A `Check` only proves that the graphs compile for a runtime. What it builds Triton cannot load,
  so it has no configuration and nothing of it is ever published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.export.graph_files import graph_bytes
from builder.export.layout import Layout
from builder.export.options import FusedOptions, IndexName, TargetOptions
from builder.progress import Progress, silent
from model_repository.core.contract import ModelSpec
from model_repository.engines.engine import Engine


@dataclass(frozen=True)
class Built:
    """What `Compiler.build` wrote.

    Attributes
    ----------
    file
        The engine.
    seconds
        How long the compiler took.
    details
        What the manifest should know of this graph, as JSON values.
    """

    file: Path
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file.name,
            "bytes": graph_bytes(self.file),
            "seconds": round(self.seconds, 2),
            **self.details,
        }


class Compiler(Protocol):
    """What both kinds have. Heavy imports live inside the methods: listing needs none of them.

    Attributes
    ----------
    options
        Names of the fields of `TargetOptions` that it reads.
    parity, ranking_loss
        The bounds that it is held to.
    fused
        A recommender's networks run inside ``rank``, ``recommend`` and ``encode``, as this says,
        see `builder.export.recommender`; None: they are models of their own.
    """

    name: str
    summary: str
    options: frozenset[str]
    parity: float
    ranking_loss: float

    @property
    def fused(self) -> FusedOptions | None: ...

    def __init__(self, options: TargetOptions | None = None) -> None: ...

    def missing(self) -> str | None:
        """What this machine lacks to build it, and how to get it; None if nothing."""
        ...

    def build(
        self,
        onnx_file: Path,
        spec: ModelSpec,
        layout: Layout,
        directory: Path,
        *,
        progress: Progress = silent,
    ) -> Built:
        """Compile one FP32 graph into `directory`, the version directory of its model.

        Raises
        ------
        ExportError
            The graph does not compile; the message has the compiler's reason.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What the manifest should know: engine, precision, versions."""
        ...


class Target(Compiler, Protocol):
    """One way to run the graphs in Triton.

    Attributes
    ----------
    index
        How ``recommend`` searches the catalogue.
    """

    index: IndexName

    def chosen(self) -> dict[str, Any]:
        """The options that it was given, by name, as JSON values."""
        ...

    def load(self, spec: ModelSpec, directory: Path) -> Engine:
        """Load what `build` wrote, from where Triton will read it."""
        ...

    def config(self, spec: ModelSpec, layout: Layout, version: int) -> ModelConfig:
        """Triton's configuration of the model."""
        ...


class Check(Compiler, Protocol):
    """One way to see that the graphs compile, on a machine that cannot run the result."""

    def stand_in(self, spec: ModelSpec, directory: Path) -> Engine:
        """Run the very graph that was compiled, in another runtime, for the gates."""
        ...
