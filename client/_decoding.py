"""Reads ``ModelInferResponse``.

By hand for the same reason as in ``_encoding``: the generated class makes a Python object of every
field on every call, which is 25 us for a ranking; most descriptions of tensors were read before,
and their bytes are looked up here. Whatever is unusual is left to the generated class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

_VERSION: Final = 0x12  # field 2, length-delimited
_OUTPUTS: Final = 0x2A  # field 5
_CONTENTS: Final = 0x32  # field 6


class OutputTensor(NamedTuple):
    """What a raw content means."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(slots=True, eq=False)
class InferResponse:
    """``ModelInferResponse``: its tensors, the raw contents in the same order, its model."""

    outputs: list[OutputTensor]
    contents: list[bytes]
    version: str = ""


def decode_response(raw: bytes) -> InferResponse:
    """Read a response. Raises DecodeError for what is none."""
    outputs: list[OutputTensor] = []
    contents: list[bytes] = []
    version = ""
    position, end = 0, len(raw)
    while position < end:
        tag = raw[position]
        if tag & 7 != 2 or tag > 127 or position + 1 == end:  # not length-delimited, a high field
            return _decode_by_class(raw)
        length = raw[position + 1]
        position += 2
        if length > 127:
            length, position = _varint(raw, position - 1)
        stop = position + length
        if stop > end:
            raise DecodeError(f"{length} bytes announced at byte {position}, {end - position} left")
        if tag == _CONTENTS:
            contents.append(raw[position:stop])
        elif tag == _OUTPUTS:
            outputs.append(_output(raw[position:stop]))
        elif tag == _VERSION:
            version = raw[position:stop].decode("utf-8", "replace")
        position = stop
    return InferResponse(outputs, contents, version)


def response_parameters(raw: bytes) -> dict[str, object]:
    """Read a response's parameters."""
    parameters: Any = service_pb2.ModelInferResponse.FromString(raw).parameters
    return {
        name: getattr(value, kind)
        for name, value in parameters.items()
        if (kind := value.WhichOneof("parameter_choice"))
    }


@lru_cache(maxsize=1024)
def _output(raw: bytes) -> OutputTensor:
    tensor: Any = service_pb2.ModelInferResponse.InferOutputTensor.FromString(raw)
    return OutputTensor(tensor.name, tensor.datatype, tuple(tensor.shape))


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    """Return a number of several bytes, and the position behind it."""
    number = shift = 0
    while position < len(raw) and shift < 64:
        byte = raw[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
        shift += 7
    raise DecodeError(f"the number at byte {position} has no end")


def _decode_by_class(raw: bytes) -> InferResponse:
    message: Any = service_pb2.ModelInferResponse.FromString(raw)
    return InferResponse(
        [OutputTensor(each.name, each.datatype, tuple(each.shape)) for each in message.outputs],
        cast("list[bytes]", list(message.raw_output_contents)),
        message.model_version,
    )
