"""The one place that knows tritonclient, whose generated modules carry no types.

Only the messages and the stub are used. Its ``InferenceServerClient`` waits for ever by default,
copies every tensor through numpy and turns errors into strings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from client._contract import TensorSpec

Parameter = bool | int | str
_Sent = TypeVar("_Sent", contravariant=True)
_Received = TypeVar("_Received", covariant=True)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it travels: ``raw`` holds its elements in row-major order, little endian."""

    spec: TensorSpec
    shape: Sequence[int]
    raw: bytes


class InferRequest(Protocol):
    """``ModelInferRequest``."""

    model_name: str


class OutputTensor(Protocol):
    """``ModelInferResponse.InferOutputTensor``: what a raw content means."""

    name: str
    datatype: str
    shape: Sequence[int]


class InferResponse(Protocol):
    """``ModelInferResponse``."""

    outputs: Sequence[OutputTensor]
    raw_output_contents: Sequence[bytes]


class ReadyRequest(Protocol):
    """``ModelReadyRequest``."""

    name: str


class ReadyResponse(Protocol):
    """``ModelReadyResponse``."""

    ready: bool


class LiveRequest(Protocol):
    """``ServerLiveRequest``, which has no fields."""


class LiveResponse(Protocol):
    """``ServerLiveResponse``."""

    live: bool


class Method(Protocol[_Sent, _Received]):
    """One remote procedure, bound to a channel; ``timeout`` in seconds, None for no deadline."""

    def __call__(self, request: _Sent, *, timeout: float | None) -> _Received: ...


class Service(Protocol):
    """The procedures of Triton's gRPC service that the client calls."""

    ModelInfer: Method[InferRequest, InferResponse]
    ModelReady: Method[ReadyRequest, ReadyResponse]
    ServerLive: Method[LiveRequest, LiveResponse]


def bind(channel: grpc.Channel) -> Service:
    """Bind every procedure to ``channel`` once: binding costs more than many a call."""
    return cast("Service", service_pb2_grpc.GRPCInferenceServiceStub(channel))


def infer_request(
    model: str, tensors: Sequence[Tensor], parameters: Mapping[str, Parameter]
) -> InferRequest:
    """Assemble an inference request; the type of a parameter's value is its type on the wire."""
    request = service_pb2.ModelInferRequest(
        model_name=model,
        inputs=[
            service_pb2.ModelInferRequest.InferInputTensor(
                name=tensor.spec.name, datatype=tensor.spec.dtype, shape=tensor.shape
            )
            for tensor in tensors
        ],
        raw_input_contents=[tensor.raw for tensor in tensors],
    )
    for name, value in parameters.items():
        match value:
            case bool():  # before int, which it is a kind of
                request.parameters[name].bool_param = value
            case int():
                request.parameters[name].int64_param = value
            case str():
                request.parameters[name].string_param = value
    return cast("InferRequest", request)


def ready_request(model: str) -> ReadyRequest:
    return cast("ReadyRequest", service_pb2.ModelReadyRequest(name=model))


def live_request() -> LiveRequest:
    return cast("LiveRequest", service_pb2.ServerLiveRequest())
