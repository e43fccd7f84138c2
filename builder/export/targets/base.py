"""What a target is: one way to turn the ONNX graphs into models that Triton runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.export.layout import Layout
from builder.export.parity import Bound, Engine
from client._contract import ModelSpec


class Target(Protocol):
    """One way to run the graphs.

    ``parity`` and ``ranking_loss`` are the bounds that its engines are held to. Heavy imports
    live inside the methods, so that listing the targets needs none of them.
    """

    name: str
    summary: str
    parity: Bound
    ranking_loss: float

    def missing(self) -> str | None:
        """What this machine lacks to build the target, and how to get it; None if nothing."""
        ...

    def build(self, onnx_file: Path, spec: ModelSpec, layout: Layout, directory: Path) -> None:
        """Compile one graph into the version directory of its model.

        Raises
        ------
        ExportError
            The graph does not compile; the message has the compiler's reason.
        """
        ...

    def load(self, spec: ModelSpec, directory: Path) -> Engine:
        """Load what `build` wrote, from where Triton will read it."""
        ...

    def config(self, spec: ModelSpec, layout: Layout, version: int) -> ModelConfig:
        """Triton's configuration of the model."""
        ...

    def describe(self) -> dict[str, Any]:
        """What the manifest should know: engine, precision, versions."""
        ...
