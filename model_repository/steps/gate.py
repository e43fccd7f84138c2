"""Refuses requests before a model reads them, while they wait for too long.

Triton's own means are not used. With ``max_queue_size``, with a limit of time and with
``priority_levels`` its batcher prepares no batch while another runs, and loses wake-ups, half a
second each (https://github.com/triton-inference-server/server/issues/8870). With Triton 2.51 one
client that sent one request after the other had 695 answers a second without any of them, 95 with
``max_queue_size`` and 105 with ``priority_levels``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import triton_python_backend_utils as pb_utils

from ..core.admission import AT_ONCE, Admission
from ..core.batch import Tensors, attempt
from ..core.contract import BACKGROUND
from ..engines.triton import ask


class Gate:
    """The `Admission` to one model, whose marks go through Triton.

    Parameters
    ----------
    output
        An output of the model; marks ask for it, and never get it.
    longest
        Milliseconds that a request may wait.
    note
        Is given the requests of a batch that are refused.
    """

    def __init__(
        self,
        model: str,
        version: int,
        output: str,
        longest: int,
        note: Callable[[Sequence[Any]], None],
    ) -> None:
        self._model = model
        self._version = version
        self._output = output
        self._longest = longest
        self._note = note
        self._admission = Admission(longest / 1000)
        self._pool = ThreadPoolExecutor(AT_ONCE)

    def refusals(self, requests: Sequence[Any]) -> dict[int, Any]:
        """The answers to marks and to requests that are refused, by their places in the batch."""
        if not self._admission.marked:
            return {}
        refused = self._admission.refused(
            [each.request_id() for each in requests],
            lambda place: requests[place].timeout() / 1e6 or None,
            lambda place: _is_background(requests[place].parameters()),
        )
        if any(refused):
            self._note([each for each, verdict in zip(requests, refused, strict=True) if verdict])
        return {
            place: pb_utils.InferenceResponse(error=self.error())
            for place, verdict in enumerate(refused)
            if verdict is not False
        }

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

    def error(self) -> Any:
        return pb_utils.TritonError(
            f"{self._model} is overloaded: requests wait for more than {self._longest} ms; wait "
            "before calling again, or give it more machines (export --max-wait is the limit)",
            # Of the codes that a backend can set, the one that says nothing else.
            pb_utils.TritonError.ALREADY_EXISTS,
        )

    def _send(self, tensors: Tensors) -> None:
        mark = self._admission.mark()
        try:
            ask(self._model, self._version, [self._output], tensors, mark)
        finally:
            self._admission.back(mark)


def _is_background(parameters: str | None) -> bool:
    return json.loads(parameters or "{}").get(BACKGROUND.name) is True
