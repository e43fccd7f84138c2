"""The parity gate: a compiled engine must agree with PyTorch, at every corner of its shapes.

An engine is right when its outputs differ from PyTorch's by no more than a bound, and when a batch
gives what its rows give one at a time. A gate that fails is an error: nothing is published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from builder.errors import GateError
from builder.progress import Progress, silent
from model_repository.core.batch import Tensors
from model_repository.core.contract import ModelSpec
from model_repository.engines.engine import Engine

_FEW_ROWS: Final = 8
"""Largest batch that is also run one row at a time."""

Measure = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""Found and expected values [m] → how far they are apart."""


FLOAT: Final = 1e-3
"""FP32 engines reorder sums and no more; 1e-3 of a standard deviation is far below what could swap
two items that a user could tell apart, and far above rounding."""

HALF: Final = 0.05
"""For FP16 engines: ten times what FP16 graphs of MovieLens-100K were found to differ (0.005), as a
GPU's kernels sum in an order of their own; and far below what would reorder a list."""


@dataclass(frozen=True)
class ParityFigure:
    """The largest difference over that many cases, and what is allowed."""

    model: str
    output: str
    cases: int
    difference: float
    bound: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def in_deviations(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """The largest difference in standard deviations of what is expected.

    Or, where all values are nearly alike, in thousandths of the largest: rounding goes by that.
    """
    largest = float(np.abs(expected).max(initial=0))
    spread = max(float(expected.std()), largest / 1_000, 1e-12)
    return float(np.abs(found - expected).max(initial=0)) / spread


def in_values(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """The largest difference, relative to the value where that is above 1."""
    return float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max(initial=0))


def check_parity(
    engine: Engine,
    graph: nn.Module,
    spec: ModelSpec,
    points: Sequence[Tensors],
    measure: Measure,
    bound: float,
    *,
    progress: Progress = silent,
) -> list[ParityFigure]:
    """Compare the output of a network with PyTorch's over a grid of inputs, and batches with rows.

    Raises
    ------
    GateError
        A figure is above the bound, an output has another shape, or is not finite.
    """
    (output,) = (tensor.name for tensor in spec.outputs)
    found, expected, together, alone = [], [], [], []
    for done, inputs in enumerate(points, 1):
        actual = engine.run(inputs)[output]
        reference = _reference(graph, spec, inputs)
        where = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
        if actual.shape != reference.shape:
            raise GateError(
                f"parity: {spec.name}.{output} with {where} has shape {actual.shape}, and "
                f"PyTorch's has {reference.shape}; nothing was published"
            )
        found.append(actual)
        expected.append(reference)
        rows = len(actual)
        if 1 < rows <= _FEW_ROWS:
            together.append(actual)
            alone += [
                engine.run({name: value[row : row + 1] for name, value in inputs.items()})[output]
                for row in range(rows)
            ]
        progress(f"parity of {spec.name}", done, len(points))
    apart = measure(_flat(found), _flat(expected))
    figures = [judged(spec.name, output, apart, len(found), bound)]
    if together:
        apart = measure(_flat(together), _flat(alone))
        figures.append(judged(spec.name, f"{output} batched", apart, len(together), bound))
    return figures


def judged(model: str, output: str, difference: float, cases: int, bound: float) -> ParityFigure:
    """The figure; GateError if it is above the bound."""
    # Written so that a NaN fails.
    if not difference <= bound:
        raise GateError(
            f"parity: {model}.{output} differs from PyTorch by {difference:.2e}, and {bound:.0e} "
            "is allowed; nothing was published"
        )
    return ParityFigure(model, output, cases, difference, bound)


def _flat(values: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    flat: NDArray[np.float64] = np.concatenate([each.ravel().astype(np.float64) for each in values])
    return flat


@torch.no_grad()
def _reference(graph: nn.Module, spec: ModelSpec, inputs: Tensors) -> NDArray[np.float32]:
    found: NDArray[np.float32] = graph(
        *(torch.from_numpy(inputs[tensor.name]) for tensor in spec.inputs)
    ).numpy()
    return found
