"""The shapes that an engine is optimised for, derived from the contract's axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from builder.export.layout import MAX_CANDIDATES, Layout
from model_repository.core.contract import ModelSpec, TensorSpec

Shape = tuple[int, ...]

_USUAL_ROWS: Final = 16
"""Batch of texts that the encoder's kernels are chosen for."""
_USUAL_CANDIDATES: Final = 100


@dataclass(frozen=True)
class Bounds:
    """Smallest, usual and largest shape of one input; kernels are chosen for the usual one."""

    smallest: Shape
    usual: Shape
    largest: Shape

    def holds(self, shape: Shape) -> bool:
        return len(shape) == len(self.smallest) and all(
            low <= axis <= high
            for low, axis, high in zip(self.smallest, shape, self.largest, strict=True)
        )


Profile = Mapping[str, Bounds]
"""The bounds of every input, by its name."""


def profiles(spec: ModelSpec, layout: Layout) -> tuple[Profile, ...]:
    """The optimisation profiles of a model.

    One for each bucket of text lengths, with that length and no other: the tokenizer pads to it
    anyhow, and a request then fits one profile only. Triton's choice among several that fit cannot
    be relied on: it takes the distance to the usual shape, and reads the axes one place off
    (``tensorrt_backend``, ``EvaluateTensorRTContext``). A model without texts has one profile.
    """
    if not any("L" in tensor.dims for tensor in spec.inputs):
        return (_profile(spec, layout, None),)
    return tuple(_profile(spec, layout, length) for length in layout.length_buckets)


def whole_range(spec: ModelSpec, layout: Layout) -> Profile:
    """One profile for every length of text, for runtimes that take a single one."""
    first, last = (
        _profile(spec, layout, length)
        for length in (layout.length_buckets[0], layout.length_buckets[-1])
    )
    return {
        name: Bounds(first[name].smallest, first[name].usual, last[name].largest) for name in first
    }


def to_json(found: tuple[Profile, ...]) -> list[dict[str, dict[str, list[int]]]]:
    """For ``manifest.json``."""
    return [
        {
            name: {
                "min": list(bounds.smallest),
                "opt": list(bounds.usual),
                "max": list(bounds.largest),
            }
            for name, bounds in profile.items()
        }
        for profile in found
    ]


def _profile(spec: ModelSpec, layout: Layout, length: int | None) -> Profile:
    ranges: dict[str, tuple[int, int, int]] = {
        "R": (1, min(_USUAL_ROWS, layout.max_rows) if spec.batched else 1, layout.max_rows),
        "H": (layout.min_slots, max(1, layout.max_history // 2), layout.max_history),
        "E": (layout.min_slots, min(layout.max_history, layout.items), layout.items),
        "N": _candidates(layout),
    }
    if length is not None:
        ranges["L"] = (length, length, length)
    return {tensor.name: _bounds(tensor, ranges, layout) for tensor in spec.inputs}


def _candidates(layout: Layout) -> tuple[int, int, int]:
    most = layout.max_candidates or MAX_CANDIDATES
    return layout.min_slots, min(_USUAL_CANDIDATES, most), most


def _bounds(
    tensor: TensorSpec, ranges: Mapping[str, tuple[int, int, int]], layout: Layout
) -> Bounds:
    shapes: list[list[int]] = [[], [], []]
    for axis in tensor.dims:
        fixed = axis if isinstance(axis, int) else layout.sizes.get(axis)
        for place, shape in enumerate(shapes):
            shape.append(ranges[str(axis)][place] if fixed is None else fixed)
    smallest, usual, largest = (tuple(shape) for shape in shapes)
    return Bounds(smallest, usual, largest)
