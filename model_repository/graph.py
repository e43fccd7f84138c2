"""Answers requests with one ONNX graph whose inputs and outputs are named as on the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batch import Outcome, Request, Tensors, attempt, attempt_together
from .engine import OnnxEngine


class Graph:
    """The encoder, adapter or retriever.

    Parameters
    ----------
    directory
        Holds ``model.onnx`` and ``settings.json`` (``{"threads": int or null}``).
    batched
        The first axis of every tensor counts rows that know nothing of one another, so that the
        requests of a batch may go through the graph as one.
    """

    def __init__(self, directory: Path, *, batched: bool) -> None:
        settings = json.loads((directory / "settings.json").read_text("utf-8"))
        self._engine = OnnxEngine(directory / "model.onnx", settings["threads"])
        self._batched = batched

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return the graph's outputs for each request, or why there are none."""
        if not self._batched:
            return [attempt(self._run, request.tensors) for request in requests]
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

    def _run(self, tensors: Tensors) -> Tensors:
        return self._engine.run(tensors)

    def _run_together(self, members: Sequence[Tensors]) -> list[Outcome]:
        if len(members) == 1:
            return [self._run(members[0])]
        merged = {name: np.concatenate([m[name] for m in members]) for name in members[0]}
        counts = [len(next(iter(tensors.values()))) for tensors in members]
        cuts = np.cumsum(counts)[:-1]
        split: dict[str, list[NDArray[Any]]] = {
            name: np.split(values, cuts) for name, values in self._run(merged).items()
        }
        return [
            {name: parts[position] for name, parts in split.items()}
            for position in range(len(members))
        ]
