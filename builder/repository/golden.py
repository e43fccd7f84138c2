"""Golden requests: what the models of a version were asked at export, and what they answered.

They stand in the version's details in the manifest. Whoever serves asks them again: a model that
answers otherwise, or not at all, does not work, whatever its server says of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.errors import RepositoryError
from builder.repository.manifest import VersionRecord

DETAIL: Final = "golden"
"""The key in a version's details."""

_TOLERANCE: Final = 0.01
"""Of a number, relative to its size where that is above 1. Processors and engines of one precision
differ by less than a tenth of this, another catalogue by far more."""


@dataclass(frozen=True, slots=True)
class GoldenOutput:
    """What an output has to be: its shape, finite numbers, and near ``values`` where there are any.

    ``values`` are flat, in C order.
    """

    shape: tuple[int, ...]
    values: tuple[float, ...] | None = None

    @classmethod
    def like(cls, array: NDArray[Any], *, values: bool) -> GoldenOutput:
        """What ``array`` is; its ``values`` too, if they are to be the same."""
        return cls(array.shape, tuple(map(float, array.ravel())) if values else None)

    def problem(self, found: NDArray[Any]) -> str | None:
        """Say how ``found`` differs; None if it does not."""
        if found.shape != self.shape:
            return f"has shape {list(found.shape)} instead of {list(self.shape)}"
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            return "is not finite"
        if self.values is not None:
            expected = np.array(self.values)
            off = np.abs(found.ravel() - expected) - _TOLERANCE * np.maximum(1, np.abs(expected))
            if off.size and off.max() > 0:
                place = int(off.argmax())
                return f"is {found.ravel()[place]:.6g} instead of {expected[place]:.6g}"
        return None


@dataclass(frozen=True, slots=True)
class GoldenRequest:
    """A request and its answer.

    Attributes
    ----------
    inputs
        By name, nested lists of ``str`` that are rows and columns.
    outputs
        By name; other outputs of the model are not looked at.
    parameters
        The options of the request.
    """

    model: str
    inputs: Mapping[str, Sequence[Sequence[str]]]
    outputs: Mapping[str, GoldenOutput]
    parameters: Mapping[str, int] = field(default_factory=dict)

    def problem(self, found: Mapping[str, NDArray[Any]]) -> str | None:
        """Say how an answer differs from the golden one; None if it does not."""
        for name, output in self.outputs.items():
            if name not in found:
                return f"{name} is missing"
            if problem := output.problem(found[name]):
                return f"{name} {problem}"
        return None


def golden_to_json(requests: Iterable[GoldenRequest]) -> list[dict[str, Any]]:
    """What the details hold of ``requests``."""
    return [asdict(request) for request in requests]


def golden_of(record: VersionRecord) -> tuple[GoldenRequest, ...]:
    """The golden requests of a version; none of one that was exported without.

    Raises
    ------
    RepositoryError
        They cannot be read.
    """
    try:
        return tuple(_read(each) for each in record.details.get(DETAIL, ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RepositoryError(
            f"the golden requests in the manifest cannot be read ({type(error).__name__}: "
            f"{error}); restore the manifest, or export again"
        ) from error


def _read(document: Mapping[str, Any]) -> GoldenRequest:
    return GoldenRequest(
        str(document["model"]),
        {
            name: [[str(value) for value in row] for row in rows]
            for name, rows in document["inputs"].items()
        },
        {name: _read_output(each) for name, each in document["outputs"].items()},
        {name: int(value) for name, value in document["parameters"].items()},
    )


def _read_output(document: Mapping[str, Any]) -> GoldenOutput:
    values = document["values"]
    found = None if values is None else tuple(map(float, values))
    shape = tuple(map(int, document["shape"]))
    if found is not None and len(found) != math.prod(shape):
        raise ValueError(f"{len(found)} values for the shape {list(shape)}")
    return GoldenOutput(shape, found)
