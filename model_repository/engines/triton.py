"""Asks other models of the same server (Triton: business logic scripting)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from typing import Any, Final, TypeVar

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from ..core.arrays import Floats
from ..core.batch import Tensors
from ..core.contract import (
    ENCODE,
    ENCODER,
    INPUT_IDS,
    STATE,
    TEXT,
    TEXT_TRUNCATED,
    TEXT_VECTOR,
    USER_ENCODER,
    VECTOR,
    ModelSpec,
)
from ..core.errors import Overloaded, Unavailable
from ..core.handler import EncodedTexts
from ..core.length_batches import RUN_COST, length_batches, padded_lengths
from ..core.users import EventBatch
from .tokenizer import TextTokenizer, pad
from .user_encoder import event_tensors

_AT_ONCE: Final = 4
"""Calls of one batch that are under way together."""

_PATIENCE: Final = 10.0
"""Seconds after which a model that encodes texts counts as unavailable, for each call of it.
Callers wait for one by default."""

_USER_PATIENCE: Final = 0.5
"""Seconds after which ``user_encoder`` does, so that callers still get what goes without it. A run
takes milliseconds."""

_CALL_COST: Final = 190
"""A call of ``user_encoder`` costs 330 us for the way there and 50 for the run, an event 2."""


_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")


def ask(
    model: str, version: int, outputs: Sequence[str], inputs: Tensors, request_id: str = ""
) -> Any:
    """Ask a model of the server, and wait for its response, which may be an error."""
    return pb_utils.InferenceRequest(
        request_id=request_id,
        model_name=model,
        model_version=version,
        requested_output_names=outputs,
        inputs=[pb_utils.Tensor(name, values) for name, values in inputs.items()],
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    ).exec()


class TritonModel:
    """A model of the server, in one version. Threads may share it."""

    def __init__(self, spec: ModelSpec, version: int) -> None:
        self._spec = spec
        self._version = version

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the outputs by name.

        Raises
        ------
        Overloaded
            The model has too much to do.
        Unavailable
            It is not there.
        RuntimeError
            The model fails, with its own reason.
        """
        names = [tensor.name for tensor in self._spec.outputs]
        response = ask(self._spec.name, self._version, names, inputs)
        if response.has_error():
            raise self._failure(response.error().code(), response.error().message())
        return {
            name: pb_utils.get_output_tensor_by_name(response, name).as_numpy() for name in names
        }

    def _failure(self, code: int, said: str) -> RuntimeError:
        if code == pb_utils.TritonError.ALREADY_EXISTS:
            return Overloaded(said)
        # Of a process that died, Triton says INTERNAL.
        if code == pb_utils.TritonError.UNAVAILABLE or "is not healthy" in said:
            return Unavailable(f"{self._spec.name} is not available ({said.rstrip('.')})")
        return RuntimeError(f"{self._spec.name} failed: {said}")


class _AtOnce:
    """Asks a model several times at once; no call may take longer than ``patience`` seconds.

    The time in which a call waits behind others does not count: a model that answers each in time
    is there, however many there are.

    Triton has no limit for this. Of the ``timeout`` of a request it takes notice in a queue alone,
    and only where the queue allows it. It gives a process that is stopped a second, and waits for
    a run that hangs for ever (tried with Triton 2.51). So a thread waits, which costs 40 us of the
    processor's time a call.

    While a call that took too long is under way, the model is asked no more: others would wait for
    as long, and every thread in the end for ever.
    """

    def __init__(self, name: str, patience: float) -> None:
        self._name = name
        self._patience = patience
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._began: dict[object, float] = {}
        """When each call began that is under way."""

    def __call__(
        self, ask: Callable[[_Argument], _Answer], arguments: Sequence[_Argument]
    ) -> list[_Answer]:
        if self._left(None) <= 0:
            raise self._unavailable()
        keys = [object() for _ in arguments]
        calls = [
            self._pool.submit(self._timed, ask, each, key)
            for key, each in zip(keys, arguments, strict=True)
        ]
        try:
            return [self._result(call, key) for call, key in zip(calls, keys, strict=True)]
        finally:
            # Where one fails, what has not begun yet never will.
            for call in calls:
                call.cancel()

    def _timed(
        self, ask: Callable[[_Argument], _Answer], argument: _Argument, key: object
    ) -> _Answer:
        self._began[key] = time.monotonic()
        try:
            return ask(argument)
        finally:
            del self._began[key]

    def _result(self, call: Future[_Answer], key: object) -> _Answer:
        while not call.done():
            left = self._left(key)
            if left <= 0:
                raise self._unavailable()
            with contextlib.suppress(TooLate):
                return call.result(left)
        return call.result()

    def _left(self, key: object) -> float:
        """Seconds for which a call may still take; for one that waits, those before it."""
        now = time.monotonic()
        began = self._began.get(key)
        if began is None:
            began = min(list(self._began.values()), default=now)
        return began + self._patience - now

    def _unavailable(self) -> Unavailable:
        return Unavailable(
            f"{self._name} is not available (it has not answered for {self._patience:g} s)"
        )


class TritonUserEncoder:
    """Asks the model ``user_encoder``; see `core.users.UserEncoder`."""

    call_cost = _CALL_COST

    def __init__(self, version: int, lengths: Sequence[int]) -> None:
        self._model = TritonModel(USER_ENCODER, version)
        self._at_once = _AtOnce(USER_ENCODER.name, _USER_PATIENCE)
        self.lengths = lengths

    def __call__(self, batches: Sequence[EventBatch]) -> list[Floats]:
        tensors = [event_tensors(batch) for batch in batches]
        return [found[STATE.name] for found in self._at_once(self._model.run, tensors)]


class EncodeModel:
    """Asks ``encode``, where the texts of other models' requests join them."""

    def __init__(self, version: int, max_rows: int) -> None:
        self._model = TritonModel(ENCODE, version)
        self._at_once = _AtOnce(ENCODE.name, _PATIENCE)
        self._max_rows = max_rows

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        column = np.array([text.encode() for text in texts], np.object_).reshape(-1, 1)
        starts = range(0, len(column), self._max_rows)
        asked = [{TEXT.name: column[start : start + self._max_rows]} for start in starts]
        # One after the other, so that texts of others get between.
        parts = [part for each in asked for part in self._at_once(self._model.run, [each])]
        return EncodedTexts(
            np.concatenate([part[TEXT_VECTOR.name] for part in parts]),
            np.concatenate([part[TEXT_TRUNCATED.name][:, 0] for part in parts]),
        )


class EncoderModel:
    """Tokenizes texts, and asks ``encoder``.

    ``lengths`` in tokens, ascending, are those that texts are padded to with ``pad_id``.
    """

    def __init__(
        self,
        version: int,
        max_rows: int,
        tokenizer: TextTokenizer,
        lengths: Sequence[int],
        pad_id: int,
    ) -> None:
        self._model = TritonModel(ENCODER, version)
        self._at_once = _AtOnce(ENCODER.name, _PATIENCE)
        self._max_rows = max_rows
        self._tokenize = tokenizer
        self._lengths = lengths
        self._pad_id = pad_id

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        rows = self._tokenize(texts)
        padded = padded_lengths([len(row.tokens) for row in rows], self._lengths)
        groups = length_batches(padded, RUN_COST, self._max_rows)

        def encode(group: Sequence[int]) -> Floats:
            tokens = pad([rows[place].tokens for place in group], self._pad_id, padded[group[-1]])
            vectors: Floats = self._model.run({INPUT_IDS.name: tokens})[VECTOR.name]
            return vectors

        found = self._at_once(encode, groups)
        vectors = np.empty((len(rows), found[0].shape[1]), np.float32)
        for group, part in zip(groups, found, strict=True):
            vectors[group] = part
        return EncodedTexts(vectors, np.array([row.truncated for row in rows], np.int32))
