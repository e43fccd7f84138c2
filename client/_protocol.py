"""The one place that knows tritonclient, whose generated modules carry no types.

Only the messages are used. Its ``InferenceServerClient`` waits for ever by default, copies every
tensor through numpy and turns errors into strings.

A request is serialised once and is bytes from then on: threads, retries and hedges share it, and
what differs between attempts is appended. That is sound since Protocol Buffers read two messages
in a row as one, merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from client._decoding import InferResponse, decode_response
from client._encoding import Parameter, Tensor, encode_addition, encode_request
from client.errors import MalformedResponse

Received = TypeVar("Received", covariant=True)

SERVICE: Final = "inference.GRPCInferenceService"


@dataclass(frozen=True, slots=True)
class Procedure(Generic[Received]):
    """A remote procedure that takes and gives serialised messages."""

    name: str
    parse: Callable[[bytes], Received]

    @property
    def path(self) -> str:
        return f"/{SERVICE}/{self.name}"

    def read(self, raw: bytes) -> Received:
        """Read an answer; MalformedResponse for what is no message of the procedure.

        gRPC is not left to do it: asyncio's half turns what it cannot read into a success, None.
        """
        try:
            return self.parse(raw)
        except DecodeError as error:
            raise MalformedResponse(
                f"{self.name}: {len(raw)} bytes came back that are no answer to it; check that "
                "the target is a Triton server",
                details=str(error),
            ) from error


@dataclass(slots=True, eq=False)
class Message(Generic[Received]):
    """A request on its way: which procedure it is for, its bytes, the model it asks."""

    procedure: Procedure[Received]
    body: bytes
    model: str = ""


INFER: Final[Procedure[InferResponse]] = Procedure("ModelInfer", decode_response)
# The answers to these are read once, by the code that asked, so their fields are not declared.
_LIVE: Final[Procedure[Any]] = Procedure("ServerLive", service_pb2.ServerLiveResponse.FromString)
_READY: Final[Procedure[Any]] = Procedure("ModelReady", service_pb2.ModelReadyResponse.FromString)
_SERVER: Final[Procedure[Any]] = Procedure(
    "ServerMetadata", service_pb2.ServerMetadataResponse.FromString
)
_MODEL: Final[Procedure[Any]] = Procedure(
    "ModelMetadata", service_pb2.ModelMetadataResponse.FromString
)
_CONFIG: Final[Procedure[Any]] = Procedure(
    "ModelConfig", service_pb2.ModelConfigResponse.FromString
)
_STATISTICS: Final[Procedure[Any]] = Procedure(
    "ModelStatistics", service_pb2.ModelStatisticsResponse.FromString
)


def infer_message(
    model: str, tensors: Sequence[Tensor], parameters: Mapping[str, Parameter]
) -> Message[InferResponse]:
    """Assemble an inference request; the type of a parameter's value is its type on the wire."""
    return Message(INFER, encode_request(model, tensors, parameters), model)


def addressed(message: Message[Any], request_id: str, seconds: float | None) -> bytes:
    """Return the bytes of one attempt, which Triton's queues drop ``seconds`` from now.

    Triton logs ``request_id``.
    """
    if message.procedure is not INFER:
        return message.body
    # Rounded up, since zero would mean no limit. Finer steps would be written anew every time.
    milliseconds = None if seconds is None else max(1, math.ceil(seconds * 1000))
    return message.body + encode_addition(request_id, milliseconds)


def live_message() -> Message[Any]:
    return Message(_LIVE, b"")


def ready_message(model: str) -> Message[Any]:
    return Message(_READY, service_pb2.ModelReadyRequest(name=model).SerializeToString(), model)


def metadata_message(model: str | None) -> Message[Any]:
    if model is None:
        return Message(_SERVER, b"")
    return Message(_MODEL, service_pb2.ModelMetadataRequest(name=model).SerializeToString(), model)


def config_message(model: str, version: str = "") -> Message[Any]:
    request = service_pb2.ModelConfigRequest(name=model, version=version)
    return Message(_CONFIG, request.SerializeToString(), model)


def statistics_message(model: str | None) -> Message[Any]:
    request = service_pb2.ModelStatisticsRequest(name=model or "")
    return Message(_STATISTICS, request.SerializeToString(), model or "")
