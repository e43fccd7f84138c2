"""Checks and restores the inputs that Triton shows a model.

``config.pbtxt`` has Triton put an axis of length 1 before those that vary, so that it shows a
model even a request of no rows, see `builder.repository.config_pbtxt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.batch import Tensors
from ..core.errors import InvalidRequest


class WireInputs:
    """Reads the configuration of a model, as Triton hands it to the model."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        inputs = config.get("input", ()) if config.get("max_batch_size") else ()
        self._ranks = {
            each["name"]: 1 + len(each.get("reshape", {}).get("shape", each["dims"]))
            for each in inputs
        }
        self._required = {
            each["name"] for each in config.get("input", ()) if not each.get("optional")
        }
        self._longer = {each["name"] for each in inputs if "reshape" in each}

    def restored(self, tensors: Tensors) -> Tensors:
        """Return the tensors, each with its rows first and no axis that the service did not send.

        Raises
        ------
        InvalidRequest
            There are no rows, or a required tensor is missing: Triton only counts them.
        """
        for name, values in tensors.items():
            if values.ndim < self._ranks.get(name, 0):
                raise InvalidRequest(f"{name} has no rows: its first axis is 0; send at least one")
        if missing := sorted(self._required - tensors.keys()):
            raise InvalidRequest(f"{', '.join(missing)} is missing; the model needs it")
        return {
            name: values[:, 0] if name in self._longer else values
            for name, values in tensors.items()
        }
