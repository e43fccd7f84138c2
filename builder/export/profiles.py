"""The shapes that an engine is optimised for, derived from the contract's axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from builder.export.layout import Layout
from model_repository.core.contract import ModelSpec, TensorSpec

Shape = tuple[int, ...]

_USUAL_ROWS: Final = 16
"""Batch of texts or users that kernels are chosen for."""


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
    """The optimisation profiles of a network.

    One for each length that texts or histories are padded to, with that length and no other: a
    request then fits one profile only. Triton's choice among several that fit cannot be relied on:
    it takes the distance to the usual shape, and reads the axes one place off
    (``tensorrt_backend``, ``EvaluateTensorRTContext``).
    """
    return tuple(_profile(spec, layout, length) for length in layout.lengths(spec))


def full_range(spec: ModelSpec, layout: Layout) -> Profile:
    """One profile for every length, for runtimes that take a single one."""
    found = profiles(spec, layout)
    first, last = found[0], found[-1]
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


def _profile(spec: ModelSpec, layout: Layout, length: int) -> Profile:
    most = layout.most(spec)
    ranges = dict.fromkeys(("L", "H"), (length, length, length))
    ranges |= dict.fromkeys(("R", "U"), (1, min(_USUAL_ROWS, most), most))
    return {tensor.name: _bounds(tensor, ranges, layout) for tensor in spec.inputs}


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
