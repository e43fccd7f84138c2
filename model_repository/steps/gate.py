"""Refuses requests before a model reads them, while they wait for too long or for nobody.

Triton's own means are not used. With ``max_queue_size``, with a limit of time and with
``priority_levels`` its batcher prepares no batch while another runs, and loses wake-ups, half a
second each (https://github.com/triton-inference-server/server/issues/8870). With Triton 2.51 one
client that sent one request after the other had 695 answers a second without any of them, 95 with
``max_queue_size`` and 105 with ``priority_levels``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import triton_python_backend_utils as pb_utils

from ..core.admission import AT_ONCE, Admission
from ..core.batch import Tensors, attempt
from ..core.contract import BACKGROUND
from ..engines.triton import ask
from .request_texts import id_of, options_of

LEFT: Final = "the caller has cancelled the request"


class Gate:
    """The `Admission` to one model, whose marks go through Triton.

    Parameters
    ----------
    output
        An output of the model; marks ask for it, and never get it.
    longest
        Milliseconds that a request may wait.
    largest
        Requests of a full batch.
    note
        Is given the requests of a batch that are refused, and those whose callers have left.
    """

    def __init__(
        self,
        model: str,
        version: int,
        output: str,
        longest: int,
        largest: int,
        note: Callable[[Sequence[Any], Sequence[Any]], None],
    ) -> None:
        self._model = model
        self._version = version
        self._output = output
        self._longest = longest
        self._note = note
        self._admission = Admission(longest / 1000, largest)
        self._pool = ThreadPoolExecutor(AT_ONCE)

    def refusals(self, requests: Sequence[Any]) -> dict[int, Any]:
        """What is not to be worked on, by places in the batch, and its answers.

        These are marks, what is refused, and what nobody waits for.
        """
        if not self._admission.marked:
            return {}
        left: set[int] = set()

        def has_left(place: int) -> bool:
            # To learn it takes 50 us for each of a batch, since Triton's process is asked.
            if requests[place].is_cancelled():
                left.add(place)
            return place in left

        verdicts = self._admission.refused(
            [id_of(each) for each in requests],
            lambda place: _seconds(requests[place]),
            cache(lambda place: _is_background(requests[place])),
            has_left,
        )
        refused = [place for place, each in enumerate(verdicts) if each and place not in left]
        if refused or left:
            self._note([requests[each] for each in refused], [requests[each] for each in left])
        return {
            place: cancelled() if place in left else pb_utils.InferenceResponse(error=self.error())
            for place, verdict in enumerate(verdicts)
            if verdict is not False
        }

    def took(self, answered: int, seconds: float) -> None:
        """Note how long so many requests of a batch took to answer."""
        self._admission.took(answered, seconds)

    def mark(self, tensors: Callable[[], Tensors]) -> None:
        """Send a mark if one is due, with the tensors of a request, whose batch it may share."""
        if not self._admission.due():
            return
        found = attempt(lambda _: {name: each.copy() for name, each in tensors().items()}, None)
        if not isinstance(found, Exception):
            self._pool.submit(self._send, found)

    def close(self) -> None:
        """Wait for the marks that are under way."""
        self._pool.shutdown()

    def limit_of(self, request: Any) -> float:
        """Seconds for which a request may wait that was let in, and is put off."""
        return self._admission.limit_of(_seconds(request), background=_is_background(request))

    @property
    def overloaded(self) -> str:
        """What is said to who is refused."""
        return (
            f"{self._model} is overloaded: requests wait for more than {self._longest} ms; wait "
            "before calling again, or give it more machines (export --max-wait is the limit)"
        )

    def error(self) -> Any:
        # Of the codes that a backend can set, the one that says nothing else.
        return pb_utils.TritonError(self.overloaded, pb_utils.TritonError.ALREADY_EXISTS)

    def _send(self, tensors: Tensors) -> None:
        mark = self._admission.mark()
        try:
            ask(self._model, self._version, [self._output], tensors, mark)
        finally:
            self._admission.back(mark)


def cancelled() -> Any:
    """The answer to a request whose caller has left."""
    error = pb_utils.TritonError(LEFT, pb_utils.TritonError.CANCELLED)
    return pb_utils.InferenceResponse(error=error)


def _seconds(request: Any) -> float | None:
    """For how long the caller waits, None where it did not say."""
    return request.timeout() / 1e6 or None


def _is_background(request: Any) -> bool:
    return options_of(request).get(BACKGROUND.name) is True
