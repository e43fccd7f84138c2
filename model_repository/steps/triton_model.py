"""The class that Triton's Python backend asks for: it looks up the model and answers for it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import triton_python_backend_utils as pb_utils

from ..core.batch import Handler, Later, Outcome, Request, attempt
from ..core.contract import MAX_WAIT
from ..core.errors import InvalidRequest, Overloaded, Unavailable
from .bytes_reader import read_bytes
from .gate import Gate
from .libraries import check_libraries
from .wire_inputs import WireInputs

pb_utils.deserialize_bytes_tensor = read_bytes

LOADERS: Final[Mapping[str, tuple[str, str]]] = {
    "rank": ("user_models", "load"),
    "recommend": ("user_models", "load_recommend"),
    "adapter": ("user_models", "load_adapter"),
    "encode": ("encode", "load"),
    "tokenizer": ("tokenizer", "load"),
    "pair_tokenizer": ("tokenizer", "load"),
    "encoder": ("graph", "load"),
    "user_encoder": ("graph", "load"),
    "classifier": ("graph", "load"),
}
"""Model → the module here and its function that makes the model's handler."""

_LATER_AT_ONCE: Final = 8
"""Batches that wait for a slower model at a time: enough that their texts meet in its queue."""


class TritonPythonModel:
    """One instance of a model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._name: str = config["name"]
        self._inputs = WireInputs(config)
        module, function = LOADERS[self._name]
        directory = Path(args["model_repository"]) / args["model_version"]
        for difference in check_libraries(directory):
            pb_utils.Logger.log_warn(f"{self._name}: {difference}")
        load: Callable[[Path, str], Handler] = getattr(
            import_module(f".{module}", __package__), function
        )
        self._handler = load(directory, self._name)
        self._pool = ThreadPoolExecutor(_LATER_AT_ONCE)
        self._gate = _gate(config, int(args["model_version"]))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        if self._gate is None:
            return self._answers(requests)
        refusals = self._gate.refusals(requests)
        kept = [each for place, each in enumerate(requests) if place not in refusals]
        if len(requests) > 1 and kept:  # what comes alone has not waited
            self._gate.mark(lambda: self._read(kept[0]).tensors)
        if not refusals:
            return self._answers(requests)
        answers = iter(self._answers(kept) if kept else ())
        return [
            refusals[place] if place in refusals else next(answers)
            for place in range(len(requests))
        ]

    def _answers(self, requests: Sequence[Any]) -> list[Any]:
        outcomes = self._outcomes(requests)
        # Requests that wait for a slower model are answered from another thread, so that neither
        # the others of the batch nor the next batch wait too.
        waiting = [
            (outcome, request.get_response_sender(), request.requested_output_names())
            for request, outcome in zip(requests, outcomes, strict=True)
            if isinstance(outcome, Later)
        ]
        if waiting:
            self._pool.submit(self._finish, waiting)
        return [
            None
            if isinstance(outcome, Later)
            else self._response(request.requested_output_names(), outcome)
            for request, outcome in zip(requests, outcomes, strict=True)
        ]

    def _outcomes(self, requests: Sequence[Any]) -> list[Outcome | Later]:
        found = [attempt(self._read, request) for request in requests]
        sound = [each for each in found if not isinstance(each, Exception)]
        answers = iter(self._handler(sound) if sound else ())
        return [each if isinstance(each, Exception) else next(answers) for each in found]

    def _read(self, request: Any) -> Request:
        return Request(
            self._inputs.restored({each.name(): each.as_numpy() for each in request.inputs()}),
            request.parameters() or "",
        )

    def finalize(self) -> None:
        self._pool.shutdown()
        if self._gate is not None:
            self._gate.close()

    def _finish(self, waiting: Sequence[tuple[Later, Any, Sequence[str]]]) -> None:
        # A cancelled request needs no texts encoded. To ask takes 60 us, a text takes more.
        gone = [sender.is_cancelled() for _, sender, _ in waiting]
        outcomes = iter(
            self._finished([each[0] for each, left in zip(waiting, gone, strict=True) if not left])
        )
        for (_, sender, wanted), left in zip(waiting, gone, strict=True):
            sender.send(
                _cancelled() if left else self._response(wanted, next(outcomes)),
                pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
            )

    def _finished(self, waiting: Sequence[Later]) -> Sequence[Outcome]:
        try:
            return self._handler.finish(waiting)
        except Exception as error:  # noqa: BLE001  (else the request would have no answer)
            return [error] * len(waiting)

    def _response(self, wanted: Sequence[str], outcome: Outcome) -> Any:
        # An exception out of `execute` would fail every request of the batch.
        if isinstance(outcome, Exception):
            return pb_utils.InferenceResponse(error=self._error(outcome))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, values) for name, values in outcome.items() if name in wanted]
        )

    def _error(self, error: Exception) -> Any:
        if isinstance(error, InvalidRequest):
            return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
        if isinstance(error, Overloaded):
            return pb_utils.TritonError(str(error), pb_utils.TritonError.ALREADY_EXISTS)
        if isinstance(error, Unavailable):
            pb_utils.Logger.log_error(f"{self._name}: {error}")
            return pb_utils.TritonError(str(error), pb_utils.TritonError.UNAVAILABLE)
        pb_utils.Logger.log_error("".join(traceback.format_exception(error)))
        return pb_utils.TritonError(
            f"{self._name} failed ({type(error).__name__}); the server's log has the traceback",
            pb_utils.TritonError.INTERNAL,
        )


def _gate(config: Mapping[str, Any], version: int) -> Gate | None:
    longest = config.get("parameters", {}).get(MAX_WAIT)
    if longest is None:
        return None
    from .server_metrics import Counters

    described = {"tritonrec_requests_refused": "Number of requests refused while overloaded"}
    counters = Counters(config["name"], str(version), described)
    output: str = config["output"][0]["name"]
    longest_wait = int(longest["string_value"])
    return Gate(config["name"], version, output, longest_wait, counters.increment)


def _cancelled() -> Any:
    error = pb_utils.TritonError(
        "the caller has cancelled the request", pb_utils.TritonError.CANCELLED
    )
    return pb_utils.InferenceResponse(error=error)
