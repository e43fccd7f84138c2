"""Tensors to and from the wire, as their declarations in the contract say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from client._bytes import decode_strings
from client._decoding import InferResponse
from client._encoding import Tensor
from client._inputs import frame_strings
from client.errors import MalformedResponse
from model_repository.core.contract import ModelSpec, TensorSpec

_FLOAT: Final = np.dtype("<f4")
_COUNT: Final = np.dtype("<i4")


def strings(spec: TensorSpec, values: Sequence[str], field: str) -> Tensor:
    """Lay ``values``, which came from the argument ``field``, along the one axis that varies."""
    return Tensor(spec, _shape(spec, len(values)), frame_strings(values, field))


def empty_strings(spec: TensorSpec, count: int) -> Tensor:
    """Lay ``count`` empty strings along the one axis that varies."""
    return Tensor(spec, _shape(spec, count), bytes(4 * count))


def integers(spec: TensorSpec, values: Sequence[int]) -> Tensor:
    """Lay 64-bit integers along the one axis that varies."""
    return Tensor(spec, _shape(spec, len(values)), np.array(values, "<i8").tobytes())


def _shape(spec: TensorSpec, length: int) -> tuple[int, ...]:
    return tuple([length if isinstance(axis, str) else axis for axis in spec.dims])


class Outputs:
    """A response's tensors, each checked against its declaration when it is read.

    Axes of one name have one length in the whole response: ``lengths`` gives those known from
    the request, the first tensor read with an axis settles the others. Tensors that are not read
    may be there, so that a newer server can answer an older client.

    Raises
    ------
    MalformedResponse
        From every method: a tensor is missing, or is not what the contract says.
    """

    def __init__(self, model: ModelSpec, response: InferResponse, **lengths: int) -> None:
        self._model = model
        self._lengths = lengths
        outputs, contents = response.outputs, response.contents
        if len(outputs) != len(contents):
            raise self._malformed(f"{len(outputs)} tensors are declared, {len(contents)} are there")
        self._found = {
            output.name: (output, raw) for output, raw in zip(outputs, contents, strict=True)
        }

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def floats(self, spec: TensorSpec) -> NDArray[np.float32]:
        """Return an FP32 tensor as a read-only view of the response."""
        raw, shape = self._read(spec, _FLOAT.itemsize)
        return np.frombuffer(raw, _FLOAT).reshape(shape)

    def row(self, spec: TensorSpec) -> NDArray[np.float32]:
        """Return the only row of an FP32 tensor [1, n], as a read-only view of the response."""
        raw, _ = self._read(spec, _FLOAT.itemsize)
        return np.frombuffer(raw, _FLOAT)

    def counts(self, spec: TensorSpec) -> NDArray[np.int32]:
        """Return an INT32 tensor as a read-only view of the response."""
        raw, shape = self._read(spec, _COUNT.itemsize)
        return np.frombuffer(raw, _COUNT).reshape(shape)

    def count(self, spec: TensorSpec) -> int:
        """Return the only element of an INT32 or INT64 tensor."""
        raw, _ = self._read(spec, 8 if spec.dtype == "INT64" else _COUNT.itemsize)
        return int.from_bytes(raw, "little", signed=True)

    def texts(self, spec: TensorSpec) -> list[str]:
        """Return the elements of a BYTES tensor in row-major order."""
        raw, shape = self._read(spec, None)
        try:
            values = decode_strings(raw)
        except ValueError as error:  # bad framing, or not UTF-8
            raise self._malformed(f"{spec.name}: {error}") from error
        if len(values) != math.prod(shape):
            raise self._malformed(
                f"{spec.name} of shape {list(shape)} holds {len(values)} elements, "
                f"{math.prod(shape)} are due"
            )
        return values

    def _read(self, spec: TensorSpec, itemsize: int | None) -> tuple[bytes, tuple[int, ...]]:
        """Return content and shape of a tensor whose type and shape are what they should be.

        So is the length of the content, if its elements have a size.
        """
        if spec.name not in self._found:
            raise self._malformed(f"{spec.name} is missing, only {sorted(self._found)} are there")
        (_, datatype, shape), raw = self._found[spec.name]
        if datatype != spec.dtype:
            raise self._malformed(f"{spec.name} is {datatype}, {spec.dtype} is due")
        lengths = self._lengths
        due = tuple([lengths.get(axis, axis) for axis in spec.dims])  # type: ignore[arg-type]
        if shape != due:
            self._settle(spec, shape, due)
        if itemsize is not None and len(raw) != math.prod(shape) * itemsize:
            raise self._malformed(
                f"{spec.name} of shape {list(shape)} holds {len(raw)} bytes, "
                f"{math.prod(shape) * itemsize} are due"
            )
        return raw, shape

    def _settle(self, spec: TensorSpec, shape: tuple[int, ...], due: tuple[int | str, ...]) -> None:
        """Take the lengths of new axes from ``shape``."""
        if len(shape) != len(due) or any(
            length < 0
            or length != (self._lengths.setdefault(axis, length) if isinstance(axis, str) else axis)
            for axis, length in zip(due, shape, strict=True)
        ):
            raise self._malformed(f"{spec.name} has shape {list(shape)}, {list(due)} is due")

    def _malformed(self, problem: str) -> MalformedResponse:
        return MalformedResponse(
            f"{self._model.name}: {problem}; export the model repository and install the client "
            "from the same version",
            details=problem,
        )
