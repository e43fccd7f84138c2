"""Requests as any client may send them, past the SDK: what models take, and messages of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tritonclient.grpc import service_pb2
from tritonclient.grpc.model_config_pb2 import DataType

from builder.serving import TritonServer

INFER: Final = "ModelInfer"
ELEMENT: Final = {"BYTES": b"\0\0\0\0", "FP32": b"\0" * 4, "INT32": b"\0" * 4, "INT64": b"\0" * 8}
"""A zero of each type of the contract, as it travels; of BYTES the empty string."""


@dataclass(frozen=True)
class Input:
    """An input of a model; -1 in ``dims`` is an axis that varies, and no axis is that of rows."""

    name: str
    dtype: str
    dims: tuple[int, ...]
    optional: bool


@dataclass(frozen=True)
class Model:
    """A model as its server describes it; with ``batched``, rows are the first axis of all."""

    name: str
    batched: bool
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor as it travels, whether its parts fit or not."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes


Tensors = Mapping[str, Tensor]


def framed(*values: bytes) -> bytes:
    """The elements of a BYTES tensor."""
    return b"".join(len(value).to_bytes(4, "little") + value for value in values)


def message(model: str, tensors: Tensors) -> Any:
    """A ``ModelInferRequest``."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, tensor in tensors.items():
        request.inputs.add(name=name, datatype=tensor.dtype, shape=tensor.shape)
        request.raw_input_contents.append(tensor.raw)
    return request


def models_of(server: TritonServer, stub: Any) -> Iterator[Model]:
    """The models that a server holds, asked through a stub of its gRPC service."""
    for status in server.models():
        config = stub.ModelConfig(service_pb2.ModelConfigRequest(name=status.name)).config
        inputs = tuple(
            Input(each.name, _wire_type(each.data_type), tuple(each.dims), each.optional)
            for each in config.input
        )
        yield Model(status.name, config.max_batch_size > 0, inputs)


def _wire_type(number: int) -> str:
    name: str = DataType.Name(number).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name
