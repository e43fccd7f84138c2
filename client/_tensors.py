"""Tensors to and from the wire, as their declarations in the contract say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from client._bytes import decode_strings
from client._contract import ModelSpec, TensorSpec
from client._inputs import frame_strings
from client._protocol import InferResponse, Tensor
from client.errors import MalformedResponse

_Number = TypeVar("_Number", np.float32, np.int32)


def strings(spec: TensorSpec, values: Sequence[str], field: str) -> Tensor:
    """Lay ``values``, which came from the argument ``field``, along the one axis that varies."""
    return Tensor(spec, _shape(spec, len(values)), frame_strings(values, field))


def empty_strings(spec: TensorSpec, count: int) -> Tensor:
    """Lay ``count`` empty strings along the one axis that varies."""
    return Tensor(spec, _shape(spec, count), bytes(4 * count))


def integers(spec: TensorSpec, values: Sequence[int]) -> Tensor:
    """Lay 64-bit integers along the one axis that varies."""
    return Tensor(spec, _shape(spec, len(values)), np.array(values, "<i8").tobytes())


def _shape(spec: TensorSpec, length: int) -> list[int]:
    return [length if isinstance(axis, str) else axis for axis in spec.dims]


class Outputs:
    """A response's tensors, each checked against its declaration when it is read.

    Axes of one name have one length in the whole response: ``lengths`` gives those known from
    the request, the first tensor read with an axis settles the others. Tensors that nobody reads
    may be there, so that a newer server can answer an older client.

    Raises
    ------
    MalformedResponse
        From every method: a tensor is missing, or is not what the contract says.
    """

    def __init__(self, model: ModelSpec, response: InferResponse, **lengths: int) -> None:
        self._model = model
        self._lengths = lengths
        contents = response.raw_output_contents
        if len(response.outputs) != len(contents):
            raise self._malformed(
                f"{len(response.outputs)} tensors are declared, {len(contents)} are there"
            )
        self._found = {
            output.name: (output, raw)
            for output, raw in zip(response.outputs, contents, strict=True)
        }

    def floats(self, spec: TensorSpec) -> NDArray[np.float32]:
        """Return an FP32 tensor as a read-only view of the response."""
        return self._numbers(spec, np.dtype(np.float32))

    def counts(self, spec: TensorSpec) -> NDArray[np.int32]:
        """Return an INT32 tensor as a read-only view of the response."""
        return self._numbers(spec, np.dtype(np.int32))

    def texts(self, spec: TensorSpec) -> list[str]:
        """Return the elements of a BYTES tensor in row-major order."""
        raw, shape = self._read(spec)
        try:
            values = decode_strings(raw)
        except ValueError as error:  # bad framing, or not UTF-8
            raise self._malformed(f"{spec.name}: {error}") from error
        if len(values) != math.prod(shape):
            raise self._malformed(
                f"{spec.name} of shape {shape} holds {len(values)} elements, "
                f"{math.prod(shape)} are due"
            )
        return values

    def _numbers(self, spec: TensorSpec, dtype: np.dtype[_Number]) -> NDArray[_Number]:
        raw, shape = self._read(spec)
        due = math.prod(shape) * dtype.itemsize
        if len(raw) != due:
            raise self._malformed(
                f"{spec.name} of shape {shape} holds {len(raw)} bytes, {due} are due"
            )
        return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)

    def _read(self, spec: TensorSpec) -> tuple[bytes, list[int]]:
        """Return content and shape of a tensor whose type and shape are what they should be."""
        if spec.name not in self._found:
            raise self._malformed(f"{spec.name} is missing, only {sorted(self._found)} are there")
        output, raw = self._found[spec.name]
        if output.datatype != spec.dtype:
            raise self._malformed(f"{spec.name} is {output.datatype}, {spec.dtype} is due")
        shape = list(output.shape)
        if len(shape) != len(spec.dims) or any(
            length < 0 or length != self._due(axis, length)
            for axis, length in zip(spec.dims, shape, strict=True)
        ):
            due = [
                self._lengths.get(axis, axis) if isinstance(axis, str) else axis
                for axis in spec.dims
            ]
            raise self._malformed(f"{spec.name} has shape {shape}, {due} is due")
        return raw, shape

    def _due(self, axis: int | str, found: int) -> int:
        return self._lengths.setdefault(axis, found) if isinstance(axis, str) else axis

    def _malformed(self, problem: str) -> MalformedResponse:
        return MalformedResponse(
            f"{self._model.name}: {problem}; export the model repository and install the client "
            "from the same version",
            details=problem,
        )
