"""Gives the tensors of a batched model back their shapes on the wire.

``config.pbtxt`` has Triton put an axis of length 1 before those that vary, so that it shows a
model even a request of no rows, see `builder.repository.config_pbtxt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.batch import Tensors
from ..core.errors import InvalidRequest


class RowShapes:
    """Reads the configuration of a model, as Triton hands it to the model."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        inputs = config.get("input", ()) if config.get("max_batch_size") else ()
        self._ranks = {
            each["name"]: 1 + len(each.get("reshape", {}).get("shape", each["dims"]))
            for each in inputs
        }
        self._longer = {each["name"] for each in inputs if "reshape" in each}

    def undo(self, tensors: Tensors) -> Tensors:
        """Return the tensors, each with its rows first and no axis that the service did not send.

        Raises
        ------
        InvalidRequest
            There are no rows.
        """
        for name, values in tensors.items():
            if values.ndim < self._ranks.get(name, 0):
                raise InvalidRequest(f"{name} has no rows: its first axis is 0; send at least one")
        return {
            name: values[:, 0] if name in self._longer else values
            for name, values in tensors.items()
        }
