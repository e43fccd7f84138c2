"""The class that Triton's Python backend asks for: it looks up the model and answers for it."""

from __future__ import annotations

import json
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from ..core.batch import Handler, Later, Outcome, Request, attempt
from ..core.contract import MAX_WAIT
from ..core.errors import InvalidRequest, Overloaded, Unavailable, lacks_memory
from .access_log import Entry, from_environment
from .bytes_reader import BeyondLimits, read_bytes
from .gate import LEFT, Gate
from .libraries import check_libraries
from .request_texts import texts_of
from .server_metrics import Counters, close_counters
from .wire_inputs import WireInputs

pb_utils.deserialize_bytes_tensor = read_bytes

LOADERS: Final[Mapping[str, tuple[str, str]]] = {
    "rank": ("user_models", "load_counted"),
    "recommend": ("user_models", "load_counted"),
    "adapter": ("user_models", "load_adapter"),
    "observe": ("observe", "load"),
    "encode": ("encode", "load"),
    "tokenizer": ("tokenizer", "load"),
    "pair_tokenizer": ("tokenizer", "load"),
    "encoder": ("graph", "load"),
    "user_encoder": ("graph", "load"),
    "classifier": ("graph", "load"),
}
"""Model → the module here and its function that makes the model's handler."""

# Codes of Triton's errors, by their names there.
_INVALID, _OVERLOADED, _UNAVAILABLE = "INVALID_ARG", "ALREADY_EXISTS", "UNAVAILABLE"
_CANCELLED, _FAULT = "CANCELLED", "INTERNAL"

_METRICS: Final = {
    (_INVALID,): (
        "tritonrec_requests_invalid",
        "Number of requests that cannot be answered as sent",
    ),
    (_OVERLOADED,): ("tritonrec_requests_refused", "Number of requests refused while overloaded"),
    (_CANCELLED,): (
        "tritonrec_requests_dropped",
        "Number of requests whose callers left before they were worked on",
    ),
    (_FAULT, _UNAVAILABLE): (
        "tritonrec_requests_failed",
        "Number of requests that the model failed to answer",
    ),
}
"""What counts the requests that end with some codes. Triton counts them as successes."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that is put off.

    Attributes
    ----------
    sender
        Who gets its answer.
    wanted
        Names of the outputs that it asks for.
    entry
        Its line in the log.
    until
        When it is refused, unless the work on it has begun: seconds of the monotonic clock.
    """

    later: Later
    sender: Any
    wanted: Sequence[str]
    entry: Entry | None
    until: float


class _Left(Exception):  # noqa: N818  (it names a state of the caller)
    """The caller of a request does not wait for its answer any more."""


_LATER_AT_ONCE: Final = 8
"""Batches that wait for a slower model at a time: enough that their texts meet in its queue."""


@contextmanager
def _ending_without_memory(told: bytes) -> Iterator[None]:
    """End the process when it gets no memory, so that the server is started anew.

    It would answer small requests, golden ones too, and fail larger ones for ever.
    """
    try:
        yield
    except Exception as error:
        if lacks_memory(error):
            os.write(2, told)  # nothing is left to make a message of
            os._exit(1)
        raise


class TritonPythonModel:
    """One instance of a model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._name: str = config["name"]
        self._no_memory = f"{self._name} gets no memory, so its process ends\n".encode()
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
        version = args["model_version"]
        self._counters = Counters(self._name, version, dict(_METRICS.values()))
        self._log = from_environment(self._name, int(version))
        self._gate = _gate(config, int(version), self._note_refused)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        with _ending_without_memory(self._no_memory):
            return self._let_in(requests)

    def _let_in(self, requests: Sequence[Any]) -> list[Any]:
        if self._gate is None:
            return self._answers(requests)
        refusals = self._gate.refusals(requests)
        kept = [each for place, each in enumerate(requests) if place not in refusals]
        if len(requests) > 1 and kept:  # what comes alone has not waited
            self._gate.mark(lambda: self._read(kept[0]).tensors)
        began = time.monotonic()
        answers = self._answers(kept) if kept else []
        self._gate.took(len(kept), time.monotonic() - began)
        if not refusals:
            return answers
        rest = iter(answers)
        return [
            refusals[place] if place in refusals else next(rest) for place in range(len(requests))
        ]

    def _note_refused(self, refused: Sequence[Any], left: Sequence[Any]) -> None:
        codes = [_OVERLOADED] * len(refused) + [_CANCELLED] * len(left)
        self._note(self._entries([*refused, *left]), codes)

    def _entries(self, requests: Sequence[Any]) -> list[Entry | None]:
        """What the access log notes of each request."""
        if self._log is None:
            return [None] * len(requests)
        return [self._log.begin(each) for each in requests]

    def _note(self, entries: Sequence[Entry | None], codes: Sequence[str | None]) -> None:
        """Count and log how requests ended; None for those that have not."""
        self._counters.increment(*(sum(map(codes.count, each)) for each in _METRICS))
        if self._log is not None:
            for entry, code in zip(entries, codes, strict=True):
                if code is not None:
                    self._log.end(entry, code)

    def _answers(self, requests: Sequence[Any]) -> list[Any]:
        entries = self._entries(requests)
        outcomes = self._outcomes(requests)
        # Requests that wait for a slower model are answered from another thread, so that neither
        # the others of the batch nor the next batch wait too.
        waiting = [
            _Waiting(
                outcome,
                request.get_response_sender(),
                request.requested_output_names(),
                entry,
                self._until(request),
            )
            for request, outcome, entry in zip(requests, outcomes, entries, strict=True)
            if isinstance(outcome, Later)
        ]
        if waiting:
            self._pool.submit(self._finish, waiting)
        self._note(entries, [None if isinstance(each, Later) else _code(each) for each in outcomes])
        return [
            None
            if isinstance(outcome, Later)
            else self._response(request.requested_output_names(), outcome)
            for request, outcome in zip(requests, outcomes, strict=True)
        ]

    def _until(self, request: Any) -> float:
        """When a request is refused that is put off now."""
        if self._gate is None:
            return math.inf
        return time.monotonic() + self._gate.limit_of(request)

    def _outcomes(self, requests: Sequence[Any]) -> list[Outcome | Later]:
        found = [attempt(self._read, request) for request in requests]
        sound = [each for each in found if not isinstance(each, Exception)]
        answers = iter(self._handler(sound) if sound else ())
        return [each if isinstance(each, Exception) else next(answers) for each in found]

    def _read(self, request: Any) -> Request:
        return Request(
            self._inputs.restored({each.name(): _values(each) for each in request.inputs()}),
            *texts_of(request),
        )

    def finalize(self) -> None:
        self._pool.shutdown()
        if self._gate is not None:
            self._gate.close()
        self._handler.close()
        if self._log is not None:
            self._log.close()
        close_counters()

    def _finish(self, waiting: Sequence[_Waiting]) -> None:
        with _ending_without_memory(self._no_memory):
            self._send(waiting)

    def _send(self, waiting: Sequence[_Waiting]) -> None:
        now = time.monotonic()
        unworked = [self._unworked(each, now) for each in waiting]
        rest = iter(
            self._finished(
                [each.later for each, end in zip(waiting, unworked, strict=True) if end is None]
            )
        )
        codes = [
            self._deliver(each, next(rest) if end is None else end)
            for each, end in zip(waiting, unworked, strict=True)
        ]
        self._note([each.entry for each in waiting], codes)

    def _unworked(self, waiting: _Waiting, now: float) -> Exception | None:
        """Why a request that was put off is not worked on, None if it is."""
        if now > waiting.until:
            assert self._gate is not None
            return Overloaded(self._gate.overloaded)
        # A cancelled request needs no texts encoded. To ask takes 50 us, a text takes more.
        left = attempt(lambda sender: sender.is_cancelled(), waiting.sender)
        return _Left(LEFT) if left is True else None

    def _deliver(self, waiting: _Waiting, outcome: Outcome) -> str:
        """Send the answer to a request, and return how it ended.

        Where it cannot be made or sent, the log says so, and the others of its group get theirs.
        """
        response = attempt(lambda wanted: self._response(wanted, outcome), waiting.wanted)
        if isinstance(response, Exception):
            outcome, response = response, self._response(waiting.wanted, response)
        failed = attempt(
            lambda made: waiting.sender.send(made, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL),
            response,
        )
        if isinstance(failed, Exception):
            pb_utils.Logger.log_error("".join(traceback.format_exception(failed)))
            return _FAULT
        return _code(outcome)

    def _finished(self, waiting: Sequence[Later]) -> Sequence[Outcome]:
        try:
            return self._handler.finish(waiting)
        except Exception as error:
            if lacks_memory(error):
                raise
            return [error] * len(waiting)

    def _response(self, wanted: Sequence[str], outcome: Outcome) -> Any:
        # An exception out of `execute` would fail every request of the batch.
        if isinstance(outcome, Exception):
            return pb_utils.InferenceResponse(error=self._error(outcome))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, values) for name, values in outcome.items() if name in wanted]
        )

    def _error(self, error: Exception) -> Any:
        code = _code(error)
        if code == _UNAVAILABLE:
            pb_utils.Logger.log_error(f"{self._name}: {error}")
        if code != _FAULT:
            return pb_utils.TritonError(str(error), getattr(pb_utils.TritonError, code))
        pb_utils.Logger.log_error("".join(traceback.format_exception(error)))
        return pb_utils.TritonError(
            f"{self._name} failed ({type(error).__name__}); the server's log has the traceback",
            pb_utils.TritonError.INTERNAL,
        )


def _values(tensor: Any) -> NDArray[Any]:
    values: NDArray[Any] = tensor.as_numpy()
    if isinstance(values, BeyondLimits):
        raise InvalidRequest(f"{tensor.name()} {values.reason}")
    return values


def _code(outcome: Outcome) -> str:
    match outcome:
        case InvalidRequest():
            return _INVALID
        case Overloaded():
            return _OVERLOADED
        case _Left():
            return _CANCELLED
        case Unavailable():
            return _UNAVAILABLE
        case Exception():
            return _FAULT
    return "OK"


def _gate(
    config: Mapping[str, Any],
    version: int,
    note: Callable[[Sequence[Any], Sequence[Any]], None],
) -> Gate | None:
    longest = config.get("parameters", {}).get(MAX_WAIT)
    if longest is None:
        return None
    # Requests that wait for company do not wait for the model, and neither do marks.
    batching = config.get("dynamic_batching", {})
    delay = int(batching.get("max_queue_delay_microseconds", 0)) // 1000
    longest_wait = int(longest["string_value"]) + delay
    if longest_wait < 2 * delay:
        return None
    output: str = config["output"][0]["name"]
    largest = int(config.get("max_batch_size", 0)) or 1
    return Gate(config["name"], version, output, longest_wait, largest, note)
