"""The interface of an engine, which runs one network."""

from __future__ import annotations

from typing import Protocol

from ..core.batch import Tensors


class Engine(Protocol):
    """A compiled graph. Threads may share it."""

    def run(self, inputs: Tensors) -> Tensors:
        """Return the outputs by name."""
        ...
