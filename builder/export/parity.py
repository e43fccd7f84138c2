"""The parity gate: a compiled engine must agree with PyTorch, at every corner of its shapes.

An engine is right when its outputs differ from PyTorch's by no more than `Bound`, and when a batch
gives what its rows give one at a time. A gate that fails is an error: nothing is published.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from builder.errors import GateError
from builder.export.layout import Layout
from builder.model.recommender import Recommender
from builder.progress import Progress, silent
from model_repository.core.contract import ADAPTER, ENCODER, RETRIEVER, ModelSpec
from model_repository.slots import EXCLUDED_LOGIT, GAP_BUCKETS, NO_ITEM

_FEW_ROWS: Final = 8
"""Largest batch that is also run one row at a time."""

Tensors = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """A compiled graph, loaded from where it was published."""

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]: ...


@dataclass(frozen=True)
class Bound:
    """Largest difference allowed, in units of the output's standard deviation over the grid.

    FP32 engines reorder sums and no more; 1e-3 of a standard deviation is far below what could
    swap two items that a user could tell apart, and far above rounding.
    """

    difference: float = 1e-3


HALF: Final = Bound(0.05)
"""For FP16 engines: ten times what FP16 graphs of MovieLens-100K were found to differ (0.005), as a
GPU's kernels sum in an order of their own; and far below what would reorder a list."""


@dataclass(frozen=True)
class ParityFigure:
    """What was found for one output tensor."""

    model: str
    output: str
    shapes: int
    difference: float
    bound: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_parity(
    engine: Engine,
    graph: nn.Module,
    spec: ModelSpec,
    grid: Grid,
    bound: Bound,
    *,
    progress: Progress = silent,
) -> list[ParityFigure]:
    """Compare over the grid of shapes of `spec`; one figure for each FP32 output.

    Raises
    ------
    GateError
        An output differs by more than the bound, has another shape, or is NaN elsewhere.
    """
    differences: dict[str, list[NDArray[np.float64]]] = {}
    values: dict[str, list[NDArray[np.float64]]] = {}
    points = list(grid.inputs(spec))
    for done, inputs in enumerate(points, 1):
        expected = _reference(graph, spec, inputs)
        actual = engine.run(dict(inputs))
        for tensor in spec.outputs:
            if tensor.dtype != "FP32":
                continue
            left, right = expected[tensor.name], actual[tensor.name]
            where = f"{spec.name}.{tensor.name} with {_describe(inputs)}"
            if left.shape != right.shape:
                raise GateError(
                    f"parity: {where} has shape {right.shape}, and PyTorch's has {left.shape}; "
                    "nothing was published"
                )
            if not np.array_equal(np.isnan(left), np.isnan(right)):
                raise GateError(
                    f"parity: {where} is NaN in other places than PyTorch's; nothing was published"
                )
            # What is excluded lies at -1e4 on both sides: a difference there is no rounding, and
            # counted as spread it would widen the bound a thousandfold.
            excluded = left <= EXCLUDED_LOGIT / 2
            if not np.array_equal(excluded, right <= EXCLUDED_LOGIT / 2):
                raise GateError(
                    f"parity: {where} excludes other items than PyTorch's; nothing was published"
                )
            known = ~(np.isnan(left) | excluded)
            differences.setdefault(tensor.name, []).append(np.abs(left - right)[known].ravel())
            values.setdefault(tensor.name, []).append(left[known].ravel())
        progress(f"parity of {spec.name}", done, len(points))
    return [
        _figure(spec, name, len(points), np.concatenate(found), np.concatenate(values[name]), bound)
        for name, found in differences.items()
    ]


def check_batching(engine: Engine, grid: Grid, bound: Bound) -> ParityFigure:
    """A batch of texts must give what its rows give one at a time (encoder only).

    Raises
    ------
    GateError
        It differs by more than the bound.
    """
    (name,) = (tensor.name for tensor in ENCODER.outputs)
    batches = [
        inputs for inputs in grid.inputs(ENCODER) if 1 < len(inputs["INPUT_IDS"]) <= _FEW_ROWS
    ]
    together = [engine.run(dict(inputs))[name] for inputs in batches]
    alone = [
        np.concatenate(
            [engine.run({"INPUT_IDS": row[np.newaxis]})[name] for row in inputs["INPUT_IDS"]]
        )
        for inputs in batches
    ]
    joined, rows = np.concatenate(together), np.concatenate(alone)
    difference = np.abs(joined - rows).astype(np.float64).ravel()
    return _figure(ENCODER, f"{name} batched", len(batches), difference, rows.ravel(), bound)


def _figure(
    spec: ModelSpec,
    output: str,
    shapes: int,
    differences: NDArray[np.float64],
    values: NDArray[np.float64],
    bound: Bound,
) -> ParityFigure:
    spread = max(float(values.std()), 1e-12)
    figure = ParityFigure(
        spec.name, output, shapes, float(differences.max(initial=0)) / spread, bound.difference
    )
    # Written so that a NaN fails.
    if not figure.difference <= bound.difference:
        raise GateError(
            f"parity: {spec.name}.{output} differs from PyTorch by {figure.difference:.2e} "
            f"standard deviations, and {bound.difference:.0e} is allowed; nothing was published"
        )
    return figure


@torch.no_grad()
def _reference(graph: nn.Module, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[Any]]:
    outputs = graph(*(torch.from_numpy(inputs[tensor.name]) for tensor in spec.inputs))
    if isinstance(outputs, torch.Tensor):
        outputs = (outputs,)
    return {tensor.name: value.numpy() for tensor, value in zip(spec.outputs, outputs, strict=True)}


def _describe(inputs: Tensors) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())


class Grid:
    """The shapes that the gate goes through: minimum, typical and maximum of every axis.

    Filled with the model's own tokens and text vectors, so that values are as in serving.
    """

    def __init__(self, model: Recommender, layout: Layout) -> None:
        self._layout = layout
        self._pad_id = model.encoder.pad_id
        some = model.catalogue.texts[:200]
        self._tokens = np.concatenate([row.tokens for row in model.tokenizer(some)])
        self._vectors = model.text_vectors.numpy()
        self._actions = model.adapter.config.actions
        self._profile = model.adapter.config.profile

    def inputs(self, spec: ModelSpec) -> Iterator[dict[str, NDArray[Any]]]:
        """Inputs of a step, one dictionary for each combination of shapes."""
        grids = {
            ENCODER.name: self._encoder,
            ADAPTER.name: self._adapter,
            RETRIEVER.name: self._retriever,
        }
        return grids[spec.name](np.random.default_rng(0))

    def _encoder(self, random: np.random.Generator) -> Iterator[dict[str, NDArray[Any]]]:
        for length in self._layout.length_buckets:
            for rows in sorted({1, min(3, self._layout.max_rows), self._layout.max_rows}):
                ids = np.full((rows, length), self._pad_id, np.int32)
                for row, line in enumerate(ids):
                    filled = length if row == 0 else random.integers(1, length + 1)
                    start = random.integers(len(self._tokens))
                    line[:filled] = np.take(
                        self._tokens, np.arange(start, start + filled), mode="wrap"
                    )
                yield {"INPUT_IDS": ids}

    def _adapter(self, random: np.random.Generator) -> Iterator[dict[str, NDArray[Any]]]:
        for history, rows in self._histories(random):
            most = self._layout.max_candidates
            for candidates in sorted({self._layout.min_slots, 1, 100, 1_000, most or 1_000}):
                slots = random.integers(-rows, self._layout.items, (1, candidates))
                slots[:, 3:4] = NO_ITEM
                yield {**history, "CANDIDATE_SLOT": slots.astype(np.int32)}

    def _retriever(self, random: np.random.Generator) -> Iterator[dict[str, NDArray[Any]]]:
        items = self._layout.items
        for history, _ in self._histories(random):
            for excluded in sorted({0, 1, items // 2, items}):
                slots = random.permutation(items)[np.newaxis, :excluded].astype(np.int32)
                yield {
                    **history,
                    "EXCLUDE_SLOT": filled(slots, self._layout.min_slots, NO_ITEM),
                }

    def _histories(
        self, random: np.random.Generator
    ) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
        longest = self._layout.max_history
        lengths = sorted({0, 1, min(20, longest), longest})
        for length, rows in itertools.product(lengths, sorted({1, self._layout.max_rows})):
            shape = (1, length)
            history = {
                "VECTOR": random.choice(self._vectors, rows),
                "HISTORY_SLOT": random.integers(-rows, self._layout.items, shape),
                "HISTORY_ACTION_ID": random.integers(0, self._actions + 1, shape),
                "HISTORY_GAP": random.integers(0, GAP_BUCKETS, shape),
            }
            profile = (
                {"PROFILE_ID": random.integers(0, [self._profile], dtype=np.int32)}
                if self._profile
                else {}
            )
            yield (
                profile
                | {
                    name: value.astype(np.float32)
                    if name == "VECTOR"
                    else filled(
                        value.astype(np.int32),
                        self._layout.min_slots,
                        NO_ITEM if name == "HISTORY_SLOT" else 0,
                    )
                    for name, value in history.items()
                },
                rows,
            )


def filled(row: NDArray[np.int32], least: int, value: int) -> NDArray[np.int32]:
    """`row` [1, n] with `value` at its end up to `least` columns, as the tokenizer does it."""
    return np.pad(row, ((0, 0), (0, max(0, least - row.shape[1]))), constant_values=value)
