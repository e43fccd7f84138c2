"""Requests that no careful client sends, drawn by Hypothesis.

Most begin as a sound request to one of the models and have some of their parts replaced. Others are
bytes that are no message, and calls of the other methods of the server.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from google.protobuf.message import DecodeError
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from tritonclient.grpc import service_pb2

from perf.wire_requests import ELEMENT, INFER, Input, Model, Tensor, framed, message

STREAM: Final = "ModelStreamInfer"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a method of ``GRPCInferenceService``, whose body need not be a message."""

    method: str
    body: bytes

    @property
    def line(self) -> str:
        """The call on one line, for `read_line`."""
        return f"{self.method} {base64.b64encode(zlib.compress(self.body)).decode()}"


def read_line(line: str) -> Call:
    """Read `Call.line`; ValueError for any other."""
    method, _, packed = line.strip().partition(" ")
    try:
        return Call(method, zlib.decompress(base64.b64decode(packed, validate=True)))
    except zlib.error as error:
        raise ValueError(str(error)) from error


def calls(models: Sequence[Model], names: Sequence[bytes]) -> SearchStrategy[Call]:
    """Calls of a server that holds ``models``, with ``names`` that its catalogue knows."""
    return _call(models, [*_STRINGS, *names]).filter(lambda call: not harms_others(call.body))


def harms_others(body: bytes) -> bool:
    """Whether a request is one of those with which Triton 2.51 harms more than their sender.

    Nothing behind Triton's core can help it, see "Known limits of Triton" in docs/operations.md.
    """
    try:
        request: Any = service_pb2.ModelInferRequest.FromString(body)
    except DecodeError:
        return False
    return any(_overflows(each) for each in request.inputs) or any(
        each.datatype == "BYTES" and _is_cut(raw)
        for each, raw in zip(request.inputs, request.raw_input_contents, strict=False)
    )


def _overflows(tensor: Any) -> bool:
    """Whether the size of a tensor is some bytes and a multiple of 2^64, which Triton forgets."""
    size: int = prod(tensor.shape) * len(ELEMENT.get(tensor.datatype, b"\0" * 8))
    return size >= 2**63 and size % 2**64 < 2**32


def _is_cut(raw: bytes) -> bool:
    """Whether the last string of a BYTES tensor lacks some of its bytes."""
    position = 0
    while position + 4 <= len(raw):
        position += 4 + int.from_bytes(raw[position : position + 4], "little")
    return position > len(raw)


_METHODS: Final = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig",
    "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
    "SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister",
    "TraceSetting", "LogSettings", "Missing",
)  # fmt: skip
_STRINGS: Final = (
    b"", b" ", b"toy story", b"a title that is new to every catalogue", b"\0", b"\xff\xfe",
    "naïve 😀 ‮".encode(), b"nobody's", b"view", b'{"age": 24}', b'{"age": NaN}', b"{", b"null",
    b"[" * 100_000, b"toy " * 5_000, b"x" * 2**20,
)  # fmt: skip
_INTEGERS: Final = (0, 1, 2, -1, 7, 2**31 - 1, -(2**31), 1_600_000_000, 2**62, 2**63 - 1, -(2**63))
_FLOATS: Final = (0.0, 1.0, -1.0, 1e38, -1e38, float("nan"), float("inf"), float("-inf"), 1e-45)
_LENGTHS: Final = (3, 1, 2, 0, 5, 17, 100, 1000)
_ROWS: Final = (1, 1, 1, 1, 2, 4, 0, 5, 100)
_AXES: Final = (-1, 0, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))
_MOST: Final = 4096
"""Elements of a tensor that are sent; what claims more is cut."""
_OPTIONS: Final = (
    "top_k", "on_unknown", "include_seen", "new_items", "background", "explain", "like",
    "like_text", "query",
    "filter", "boost", "limits", "pins", "cursor", "diversity", "explore", "topk",
    "sequence_id", "sequence_start", "sequence_end",
    "priority", "timeout", "traceparent",
    "binary_data", "headers",
    "triton_enable_empty_final_response", "triton_final_response", "",
)  # fmt: skip
_OF_TENSORS: Final = (
    "classification", "binary_data", "binary_data_size", "shared_memory_region",
    "shared_memory_byte_size", "shared_memory_offset", "x",
)  # fmt: skip


def _one_in(draw: DrawFn, number: int) -> bool:
    # The last, so that Hypothesis's small values leave requests sound.
    return draw(st.integers(0, number - 1)) == number - 1


@st.composite
def _call(draw: DrawFn, models: Sequence[Model], strings: Sequence[bytes]) -> Call:
    kind = draw(st.integers(0, 39))
    if kind == 39:
        name = draw(st.sampled_from([*(model.name for model in models), "", "nobody"]))
        body = service_pb2.ModelReadyRequest(name=name).SerializeToString()
        return Call(draw(st.sampled_from(_METHODS)), draw(st.sampled_from([body, b""]) | _bytes()))
    request: bytes = draw(_request(models, strings)).SerializeToString()
    method = STREAM if kind > 36 else INFER
    return Call(method, _damaged(draw, request) if 34 < kind < 38 else request)


def _bytes() -> SearchStrategy[bytes]:
    return st.binary(max_size=40)


def _damaged(draw: DrawFn, body: bytes) -> bytes:
    """Bytes that begin as ``body`` and are cut, changed or go on."""
    place = draw(st.integers(0, min(len(body), 400)))
    what = draw(st.integers(0, 4))
    if what == 0:
        return body[:place]
    if what == 1:
        return body[:place] + draw(_bytes()) + body[place:]
    if what == 2:
        return body[:place] + draw(_bytes()) + body[place + 1 :]
    if what == 3:
        return body + draw(_bytes())
    return draw(_bytes())


@st.composite
def _request(draw: DrawFn, models: Sequence[Model], strings: Sequence[bytes]) -> Any:
    model = draw(st.sampled_from(models))
    length, rows = draw(st.sampled_from(_LENGTHS)), draw(st.sampled_from(_ROWS))
    tensors = {}
    for each in model.inputs:
        if draw(st.booleans()) if each.optional else not _one_in(draw, 16):
            at = draw(st.sampled_from(_LENGTHS)) if _one_in(draw, 10) else length
            tensor = _tensor(draw, each, rows if model.batched else None, at, strings)
            tensors[each.name] = _odd(draw, tensor) if _one_in(draw, 12) else tensor
    request = message(model.name, tensors)
    if _one_in(draw, 3):
        _set_parameter(draw, request.parameters[draw(st.sampled_from(_OPTIONS))])
    if _one_in(draw, 6):
        draw(st.sampled_from(_CHANGES))(draw, request)
    return request


def _tensor(
    draw: DrawFn, spec: Input, rows: int | None, length: int, strings: Sequence[bytes]
) -> Tensor:
    """A tensor as the model takes it, of odd values."""
    dims = tuple(length if axis < 0 else axis for axis in spec.dims)
    shape = dims if rows is None else (rows, *dims)
    return Tensor(spec.dtype, shape, _values(draw, spec.dtype, min(prod(shape), _MOST), strings))


def _values(draw: DrawFn, dtype: str, count: int, strings: Sequence[bytes]) -> bytes:
    """As many elements, of at most three different ones."""
    if dtype == "BYTES":
        chosen = draw(st.lists(st.sampled_from(strings) | _bytes(), min_size=1, max_size=3))
        # A message holds 64 MiB at the most here, so that both sides go on in good time.
        few = max(1, 2**22 // (1 + max(map(len, chosen))))
        return framed(*(chosen[place % len(chosen)] for place in range(min(count, few))))
    numbers: SearchStrategy[Any] = st.sampled_from(_FLOATS if dtype == "FP32" else _INTEGERS)
    packed = [_packed(dtype, each) for each in draw(st.lists(numbers, min_size=1, max_size=3))]
    return b"".join(packed[place % len(packed)] for place in range(count))


def _packed(dtype: str, number: float) -> bytes:
    if dtype == "FP32":
        return struct.pack("<f", number)
    size = len(ELEMENT[dtype])
    return (int(number) % (1 << 8 * size)).to_bytes(size, "little")


def _odd(draw: DrawFn, tensor: Tensor) -> Tensor:
    dtype, shape, raw = tensor.dtype, tensor.shape, tensor.raw
    what = draw(st.integers(0, 7))
    if what == 0:
        return Tensor(draw(st.sampled_from([*ELEMENT, "FP64", "BOOL", "TEXT", ""])), shape, raw)
    if what == 1:
        return Tensor(dtype, shape, raw[: -draw(st.integers(1, 5))])
    if what == 2:
        return Tensor(dtype, shape, raw + draw(_bytes()))
    if what == 3:
        return Tensor(dtype, shape, raw * 2)
    if what == 4:
        return Tensor(
            dtype, draw(st.sampled_from([(*shape, 1), (1, *shape), (prod(shape),), ()])), raw
        )
    place = draw(st.integers(0, max(0, len(shape) - 1)))
    axis = draw(st.sampled_from(_AXES) | st.integers(-(2**63), 2**63 - 1))
    return Tensor(dtype, (*shape[:place], axis, *shape[place + 1 :]), raw)


def _set_parameter(draw: DrawFn, parameter: Any) -> None:
    kind = draw(st.integers(0, 5))
    if kind == 0:
        parameter.int64_param = draw(st.sampled_from(_INTEGERS))
    elif kind == 1:
        parameter.bool_param = draw(st.booleans())
    elif kind == 2:
        parameter.string_param = draw(
            st.sampled_from(["", "skip", "error", "x" * 5_000]) | st.text()
        )
    elif kind == 3:
        parameter.double_param = draw(st.sampled_from(_FLOATS))
    elif kind == 4:
        parameter.uint64_param = draw(st.sampled_from([0, 1, 2**63, 2**64 - 1]))


def _name(draw: DrawFn, request: Any) -> None:
    request.model_name = draw(st.sampled_from(["", "nobody", "../rank", "x" * 5_000]) | st.text())


def _version(draw: DrawFn, request: Any) -> None:
    request.model_version = draw(st.sampled_from(["1", "2", "-1", "x", "9" * 40]))


def _id(draw: DrawFn, request: Any) -> None:
    request.id = draw(st.sampled_from(["x" * 2**16, "\0", "golden"]) | st.text())


def _outputs(draw: DrawFn, request: Any) -> None:
    names = (
        "LOGIT", "INTEREST", "ITEM", "SKIPPED", "TRUNCATED", "VECTOR", "PROBABILITY", "ACCEPTED",
        "",
    )  # fmt: skip
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)):
        output = request.outputs.add(name=name)
        if draw(st.booleans()):
            _set_parameter(draw, output.parameters[draw(st.sampled_from(_OF_TENSORS))])


def _of_input(draw: DrawFn, request: Any) -> None:
    if request.inputs:
        each = request.inputs[draw(st.integers(0, len(request.inputs) - 1))]
        _set_parameter(draw, each.parameters[draw(st.sampled_from(_OF_TENSORS))])


def _typed(draw: DrawFn, request: Any) -> None:
    """Contents by type, in place of the raw ones or beside them."""
    for each in request.inputs:
        values = draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4))
        if each.datatype == "BYTES":
            each.contents.bytes_contents.extend(str(value).encode() for value in values)
        else:
            each.contents.int_contents.extend(values)
    if draw(st.booleans()):
        request.ClearField("raw_input_contents")


def _twice(draw: DrawFn, request: Any) -> None:
    if request.inputs:
        place = draw(st.integers(0, len(request.inputs) - 1))
        request.inputs.add().CopyFrom(request.inputs[place])
        if draw(st.booleans()):
            request.raw_input_contents.append(request.raw_input_contents[place])


def _other_input(draw: DrawFn, request: Any) -> None:
    request.inputs.add(name=draw(st.sampled_from(["", "X", "VECTOR"])), datatype="FP32", shape=[1])
    request.raw_input_contents.append(ELEMENT["FP32"])


def _fewer_contents(draw: DrawFn, request: Any) -> None:  # noqa: ARG001
    if request.raw_input_contents:
        request.raw_input_contents.pop()


_CHANGES: Final[Sequence[Callable[[DrawFn, Any], None]]] = (
    _name, _version, _id, _outputs, _of_input, _typed, _twice, _other_input, _fewer_contents,
)  # fmt: skip
