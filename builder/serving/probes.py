"""Sends golden requests to a server, one at a time for each model, and reads the answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from builder.repository.golden import GoldenRequest
from model_repository.core.contract import FALLBACK

_DTYPES: Final = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}
# The model, or what stands around it, says that it cannot. Any other code says that it did not:
# it was busy, or the request was turned away.
_FAULTS: Final = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
)


class Probe:
    """The golden request of one model, on its way to a server or not.

    Attributes
    ----------
    problem
        What was wrong with the last answer; "" for a good one, None before the first.
    due
        Whether the request was sent and has not been answered.
    lacking
        What the model needs and did not get for its last answer, which therefore tells nothing of
        itself; "" for nothing.
    """

    def __init__(self, golden: GoldenRequest, channel: grpc.Channel) -> None:
        self.model = golden.model
        self.problem: str | None = None
        self._golden = golden
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._request = message_of(golden)
        self._request.id = "golden"
        self._call: Any = None
        self.due = False
        self.lacking = ""

    def send(self) -> None:
        """Send the request, unless it is on its way.

        It has no deadline: under load it waits as any other.
        """
        self.due = True
        if self._call is None:
            self._call = self._stub.ModelInfer.future(self._request)

    def read(self) -> bool:
        """Read the answer.

        False if there is none yet, the request was turned away, or the model lacks something.
        """
        if self._call is None or not self._call.done():
            return False
        call, self._call = self._call, None
        self.lacking = ""
        if call.code() is grpc.StatusCode.OK:
            found = arrays_of(call.result())
            if FALLBACK.name in found:
                self.lacking = "it answers with popular items"
                return False
            self.problem = self._golden.problem(found) or ""
        elif call.code() in _FAULTS:
            self.problem = f"{call.code().name}: {call.details()}"
        else:
            if call.code() is grpc.StatusCode.UNAVAILABLE:
                self.lacking = str(call.details())
            return False
        self.due = False
        return True

    def answered(self) -> int:
        """How many requests the model has answered, whoever sent them; -1 if nobody says."""
        request = service_pb2.ModelStatisticsRequest(name=self.model)
        try:
            answer = self._stub.ModelStatistics(request, timeout=1)
        except grpc.RpcError:
            return -1
        return sum(int(each.inference_stats.success.count) for each in answer.model_stats)


def message_of(golden: GoldenRequest) -> Any:
    """A golden request as ``ModelInferRequest``."""
    request = service_pb2.ModelInferRequest(model_name=golden.model)
    for name, rows in golden.inputs.items():
        array = np.array([[value.encode() for value in row] for row in rows], np.object_)
        request.inputs.add(name=name, datatype="BYTES", shape=array.shape)
        written = serialize_byte_tensor(array)
        request.raw_input_contents.append(written.item() if written.size else b"")
    for name, value in golden.parameters.items():
        request.parameters[name].int64_param = value
    return request


def arrays_of(answer: Any) -> Mapping[str, NDArray[Any]]:
    """The tensors of a ``ModelInferResponse``; flat where they do not have the shape they say."""
    found = {}
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if output.datatype in _DTYPES:
            array = np.frombuffer(raw, _DTYPES[output.datatype])
        else:
            array = deserialize_bytes_tensor(raw)
        shape = tuple(output.shape)
        found[output.name] = array.reshape(shape if math.prod(shape) == array.size else (-1,))
    return found
