"""What every step does as a model of Triton's Python backend; the rest is plain code beside it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from .batch import Handler, Outcome, Request
from .bytes_reader import read_bytes
from .errors import InvalidRequest

pb_utils.deserialize_bytes_tensor = read_bytes


class TritonStep:
    """Base of each step's ``TritonPythonModel``."""

    def make_handler(self, directory: Path, *, batched: bool) -> Handler:
        """Load the files of ``directory``, the model's version.

        ``batched`` says that the first axis of every tensor is Triton's batch dimension.
        """
        raise NotImplementedError

    def initialize(self, args: Mapping[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._name: str = config["name"]
        self._handler = self.make_handler(
            Path(args["model_repository"]) / args["model_version"],
            batched=config["max_batch_size"] > 0,
        )

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        outcomes = self._handler([_read(request) for request in requests])
        return [
            self._response(request, outcome)
            for request, outcome in zip(requests, outcomes, strict=True)
        ]

    def _response(self, request: Any, outcome: Outcome) -> Any:
        # An exception out of `execute` would fail every request of the batch.
        if isinstance(outcome, Exception):
            return pb_utils.InferenceResponse(error=self._error(outcome))
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, values) for name, values in outcome.items() if name in wanted]
        )

    def _error(self, error: Exception) -> Any:
        if isinstance(error, InvalidRequest):
            return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
        pb_utils.Logger.log_error("".join(traceback.format_exception(error)))
        return pb_utils.TritonError(
            f"{self._name} failed ({type(error).__name__}); the server's log has the traceback",
            pb_utils.TritonError.INTERNAL,
        )


def _read(request: Any) -> Request:
    return Request(
        {tensor.name(): tensor.as_numpy() for tensor in request.inputs()},
        _parameters(request.parameters() or "{}"),
    )


@lru_cache(maxsize=1024)  # most requests ask for the same; whoever reads them changes nothing
def _parameters(text: str) -> Mapping[str, object]:
    found: Mapping[str, object] = json.loads(text)
    return found
