"""Sound requests whose answers are known: golden ones, and the same with more inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from builder.repository.golden import GoldenOutput, GoldenRequest
from builder.serving.probes import arrays_of, message_of
from model_repository.core.contract import (
    ACCEPTED,
    CLASSIFY,
    ENCODE,
    HISTORY,
    OBSERVE,
    OBSERVED_ITEM,
    RANK,
    RANK_TEXTS,
    RECOMMEND,
    REPEATED,
    UNKNOWN,
)
from perf.wire_requests import ELEMENT, Tensor, message

Key = tuple[str, frozenset[str]]
"""A model and the inputs of a request to it. Triton merges only requests with the same inputs."""

_MODELS: Final = {
    model.name: model for model in (RANK, RECOMMEND, ENCODE, RANK_TEXTS, CLASSIFY, OBSERVE)
}
_NOBODY: Final = "an item that no catalogue has"
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


def of_events(golden: Sequence[GoldenRequest]) -> Iterator[GoldenRequest]:
    """A request to ``observe`` with events, where there is that model: its golden one has none.

    The events are of the items that the golden requests have for known, and of one that is unknown.
    They have no ids, so each time they count as new.
    """
    if all(each.model != OBSERVE.name for each in golden):
        return
    known = sorted(
        {item for each in golden for row in each.inputs.get(HISTORY.name, ()) for item in row}
    )
    answer = {ACCEPTED: len(known), UNKNOWN: 1, REPEATED: 0}
    yield GoldenRequest(
        OBSERVE.name,
        {OBSERVED_ITEM.name: [[*known, _NOBODY]]},
        {spec.name: GoldenOutput((1, 1), (float(number),)) for spec, number in answer.items()},
    )


def good_requests(golden: GoldenRequest) -> Iterator[Any]:
    """A golden request as ``ModelInferRequest``, with each set of the model's optional inputs.

    The first is the golden request itself. What it lacks is empty strings, or zeros.
    """
    plain = message_of(golden)
    lengths: dict[int | str, int] = {"E": 0}
    shapes = {each.name: each.shape for each in plain.inputs}
    specs = _MODELS[golden.model].inputs
    for spec in specs:
        if spec.name in shapes:
            lengths |= zip(spec.dims, shapes[spec.name], strict=True)
    optional = {}
    for spec in specs:
        if spec.name not in shapes:
            shape = tuple(axis if isinstance(axis, int) else lengths[axis] for axis in spec.dims)
            optional[spec.name] = Tensor(spec.dtype, shape, ELEMENT[spec.dtype] * prod(shape))
    for number in range(len(optional) + 1):
        for chosen in combinations(optional.items(), number):
            request = service_pb2.ModelInferRequest.FromString(plain.SerializeToString())
            request.MergeFrom(message(golden.model, dict(chosen)))
            yield request


Answer = Mapping[str, NDArray[Any]]


def answer_of(body: bytes) -> Answer:
    """The tensors of a ``ModelInferResponse``."""
    return arrays_of(service_pb2.ModelInferResponse.FromString(body))


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
