"""Sound requests whose answers are known: golden ones, and the same with more inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor

from builder.repository.golden import GoldenRequest
from model_repository.core.contract import CLASSIFY, ENCODE, RANK, RANK_TEXTS, RECOMMEND
from perf.wire_requests import ELEMENT, Tensor, framed, message

Key = tuple[str, frozenset[str]]
"""A model and the inputs of a request to it. Triton merges only requests with the same inputs."""

_MODELS: Final = {model.name: model for model in (RANK, RECOMMEND, ENCODE, RANK_TEXTS, CLASSIFY)}
_DTYPES: Final = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}
_TOLERANCE: Final = 1e-3
"""Of a number: batches of other sizes round otherwise."""


def key_of(request: Any) -> Key:
    """The `Key` of a ``ModelInferRequest``."""
    return request.model_name, frozenset(each.name for each in request.inputs)


def names_of(golden: Sequence[GoldenRequest]) -> list[bytes]:
    """What golden requests call items and texts."""
    values = {
        value for each in golden for rows in each.inputs.values() for row in rows for value in row
    }
    return [value.encode() for value in sorted(values)]


def good_requests(golden: GoldenRequest) -> Iterator[Any]:
    """A golden request as ``ModelInferRequest``, with each set of the model's optional inputs.

    The first is the golden request itself. What it lacks is empty strings, or zeros.
    """
    given = {
        name: Tensor(
            "BYTES", (len(rows), len(rows[0])), framed(*(v.encode() for v in chain(*rows)))
        )
        for name, rows in golden.inputs.items()
    }
    lengths: dict[int | str, int] = {"E": 0}
    optional = {}
    for spec in _MODELS[golden.model].inputs:
        if spec.name in given:
            lengths |= zip(spec.dims, given[spec.name].shape, strict=True)
    for spec in _MODELS[golden.model].inputs:
        if spec.name not in given:
            shape = tuple(axis if isinstance(axis, int) else lengths[axis] for axis in spec.dims)
            optional[spec.name] = Tensor(spec.dtype, shape, ELEMENT[spec.dtype] * prod(shape))
    for number in range(len(optional) + 1):
        for chosen in combinations(optional.items(), number):
            request = message(golden.model, given | dict(chosen))
            for name, value in golden.parameters.items():
                request.parameters[name].int64_param = value
            yield request


Answer = Mapping[str, NDArray[Any]]


def answer_of(body: bytes) -> Answer:
    """The tensors of a ``ModelInferResponse``."""
    response: Any = service_pb2.ModelInferResponse.FromString(body)
    return {
        output.name: (
            np.frombuffer(raw, _DTYPES[output.datatype])
            if output.datatype in _DTYPES
            else deserialize_bytes_tensor(raw)
        ).reshape(tuple(output.shape))
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def difference(found: Answer, expected: Answer) -> str:
    """How an answer differs from another; empty if it does not."""
    if found.keys() != expected.keys():
        return f"has {sorted(found)} and not {sorted(expected)}"
    for name, values in expected.items():
        other = found[name]
        if other.shape != values.shape or not (
            (other == values).all()
            if values.dtype.kind == "O"
            else np.allclose(other, values, _TOLERANCE, _TOLERANCE)
        ):
            return f"{name} is {other.tolist()} and not {values.tolist()}"
    return ""
