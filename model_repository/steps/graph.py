"""The networks as models of their own: ``encoder``, ``user_encoder`` and ``classifier``.

A version holds ``model.onnx``, whose inputs and outputs are named as on the wire, and
``settings.json``: ``{"threads": int or null}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.batch import Handler, Outcome, Prompt, Request, Tensors, attempt_together
from ..engines.onnx import OnnxEngine
from ..engines.settings import read_settings


def load(directory: Path, model: str) -> Handler:  # noqa: ARG001
    settings = read_settings(directory)
    return Graph(OnnxEngine(directory / "model.onnx", settings["threads"]))


class Graph(Prompt):
    """Answers requests with one engine; those of one shape go through it together.

    The first axis of every tensor counts rows that know nothing of one another.
    """

    def __init__(self, engine: OnnxEngine) -> None:
        self._engine = engine

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return the engine's outputs for each request, or why there are none."""
        outcomes: dict[int, Outcome] = {}
        for members in self._alike(requests):
            together = attempt_together(
                self._run_together, [requests[member].tensors for member in members]
            )
            outcomes.update(zip(members, together, strict=True))
        return [outcomes[position] for position in range(len(requests))]

    def _alike(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group positions of requests that differ in nothing but their number of rows."""
        groups: dict[object, list[int]] = {}
        for position, request in enumerate(requests):
            shapes = tuple((n, t.shape[1:]) for n, t in sorted(request.tensors.items()))
            groups.setdefault(shapes, []).append(position)
        return list(groups.values())

    def _run_together(self, members: Sequence[Tensors]) -> list[Outcome]:
        if len(members) == 1:
            return [self._engine.run(members[0])]
        merged = {name: np.concatenate([m[name] for m in members]) for name in members[0]}
        counts = [len(next(iter(tensors.values()))) for tensors in members]
        cuts = np.cumsum(counts)[:-1]
        split: dict[str, list[NDArray[Any]]] = {
            name: np.split(values, cuts) for name, values in self._engine.run(merged).items()
        }
        return [
            {name: parts[position] for name, parts in split.items()}
            for position in range(len(members))
        ]
