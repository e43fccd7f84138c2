"""What a step is given and what it hands back, one outcome per request of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]
"""Tensors by their name in the wire contract; BYTES are object arrays of ``bytes``."""

Outcome = Tensors | Exception
"""The answer to one request, or why there is none."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the tensors that it carries and its typed parameters."""

    tensors: Tensors
    parameters: Mapping[str, object] = field(default_factory=dict)


Handler = Callable[[Sequence[Request]], Sequence[Outcome]]
"""Answers a batch: as many outcomes as requests, in their order. Never raises for one of them."""

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


def attempt(function: Callable[[_Argument], _Result], argument: _Argument) -> _Result | Exception:
    """Call ``function`` and return what it raises, so that a failure stays with its request."""
    try:
        return function(argument)
    except Exception as error:  # noqa: BLE001  (handed on, as this request's outcome)
        return error


def attempt_together(
    function: Callable[[Sequence[_Argument]], Sequence[_Result]], arguments: Sequence[_Argument]
) -> list[_Result | Exception]:
    """Call ``function`` once for all arguments; where that fails, once for each of them.

    It returns one result for each argument that it is given.
    """
    if not arguments:
        return []
    together = attempt(function, arguments)
    if not isinstance(together, Exception):
        return list(together)
    if len(arguments) == 1:
        return [together]
    # One of them is at fault: alone, each gets its own answer.
    return [each for one in arguments for each in attempt_together(function, [one])]
