"""The networks as models of their own: ``encoder``, ``user_encoder`` and ``classifier``.

A version holds ``model.onnx``, whose inputs and outputs are named as on the wire, and
``settings.json``:

``threads``
    Of a run; null: as many as there are cores.
``largest``
    The largest value of each input that numbers the rows of a table, by the input's name.
``longest``
    Tokens or events that the network reads of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.batch import (
    Handler,
    Outcome,
    Prompt,
    Request,
    Tensors,
    attempt,
    attempt_together,
)
from ..core.contract import EVENT, EVENT_COUNT, INPUT_IDS
from ..core.errors import InvalidRequest
from ..core.tensors import check_range
from ..engines.engine import Engine
from ..engines.onnx import OnnxEngine
from ..engines.settings import read_settings


def load(directory: Path, model: str) -> Handler:  # noqa: ARG001
    settings = read_settings(directory)
    engine = OnnxEngine(directory / "model.onnx", settings["threads"])
    return Graph(engine, settings["largest"], settings["longest"])


class Graph(Prompt):
    """Answers requests with one engine; those of one shape go through it together.

    The first axis of every tensor counts rows that know nothing of one another. For ``largest`` and
    ``longest`` see above. Engines differ in what they do beyond these: one fails, another reads the
    last row of a table for -1.
    """

    def __init__(self, engine: Engine, largest: Mapping[str, int], longest: int) -> None:
        self._engine = engine
        self._largest = largest
        self._longest = longest

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return the engine's outputs for each request, or why there are none."""
        found = [attempt(self._checked, request) for request in requests]
        sound = [each for each in found if not isinstance(each, Exception)]
        answers = iter(self._run(sound))
        return [each if isinstance(each, Exception) else next(answers) for each in found]

    def _checked(self, request: Request) -> Request:
        tensors = request.tensors
        lengths = {
            name: values.shape[1] for name, values in tensors.items() if name != EVENT_COUNT.name
        }
        if len(set(lengths.values())) > 1:
            said = " and ".join(f"{name} {length}" for name, length in sorted(lengths.items()))
            raise InvalidRequest(f"the rows are not of one length: {said}; pad them to the same")
        first, length = next(iter(lengths.items()))
        if length > self._longest or (length == 0 and INPUT_IDS.name in tensors):
            raise InvalidRequest(
                f"{first} has rows of {length}, and the model reads up to {self._longest}; send "
                "rows of that length at most, and at least one token"
            )
        largest = dict(self._largest)
        if EVENT.name in tensors:
            largest[EVENT_COUNT.name] = length
        for name, most in largest.items():
            check_range(name, tensors[name], most)
        return request

    def _run(self, requests: Sequence[Request]) -> list[Outcome]:
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
