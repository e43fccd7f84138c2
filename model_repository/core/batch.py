"""What a handler is given and what it hands back, one outcome per request of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from .errors import Overloaded, Unavailable, lacks_memory

Tensors = Mapping[str, NDArray[Any]]
"""Tensors by their name in the wire contract; BYTES are object arrays of ``bytes``."""

Outcome = Tensors | Exception
"""The answer to one request, or why there is none."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its tensors, its parameters as a JSON object, and its id; empty for none."""

    tensors: Tensors
    parameters: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """A request whose answer needs a slower model; no other request of its batch waits for it."""

    request: Any


class Handler(Protocol):
    """Answers batches. Neither method raises for one of the requests."""

    def __call__(self, requests: Sequence[Request]) -> Sequence[Outcome | Later]:
        """As many outcomes as requests, in their order."""
        ...

    def finish(self, waiting: Sequence[Later]) -> Sequence[Outcome]:
        """The outcomes of requests that were put off, in their order. Any thread may ask."""
        ...

    def close(self) -> None:
        """Let go of what is held; nothing is asked any more."""
        ...


class Prompt:
    """A handler that puts nothing off."""

    def finish(self, waiting: Sequence[Later]) -> Sequence[Outcome]:
        if waiting:
            raise AssertionError(f"{type(self).__name__} puts nothing off")
        return []

    def close(self) -> None:
        """Do nothing: what is held ends with the process."""


def answer(handler: Handler, requests: Sequence[Request]) -> list[Outcome]:
    """The outcome of every request, those that are put off included."""
    found = handler(requests)
    finished = iter(handler.finish([each for each in found if isinstance(each, Later)]))
    return [next(finished) if isinstance(each, Later) else each for each in found]


_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


def attempt(function: Callable[[_Argument], _Result], argument: _Argument) -> _Result | Exception:
    """Call ``function`` and return what it raises, so that a failure stays with its request.

    Where it `lacks_memory`, this is raised.
    """
    try:
        return function(argument)
    except Exception as error:
        if lacks_memory(error):
            raise
        return error


def attempt_together(
    function: Callable[[Sequence[_Argument]], Sequence[_Result]], arguments: Sequence[_Argument]
) -> list[_Result | Exception]:
    """Call ``function`` once for all arguments; where that fails, once for each of them.

    It returns one result for each argument that it is given. What is unavailable to all, or has too
    much to do, is not asked for again.
    """
    if not arguments:
        return []
    together = attempt(function, arguments)
    if not isinstance(together, Exception):
        return list(together)
    if len(arguments) == 1 or isinstance(together, (Overloaded, Unavailable)):
        return [together] * len(arguments)
    # One of them is at fault: alone, each gets its own answer.
    return [each for one in arguments for each in attempt_together(function, [one])]


def read_and_answer(
    read: Callable[[Request], _Argument],
    answer_all: Callable[[Sequence[_Argument]], Sequence[Tensors]],
    requests: Sequence[Request],
) -> list[Outcome]:
    """Read each request, and answer those that were found in order together."""
    found = [attempt(read, request) for request in requests]
    sound = [each for each in found if not isinstance(each, Exception)]
    answers = iter(attempt_together(answer_all, sound))
    return [each if isinstance(each, Exception) else next(answers) for each in found]
