"""Observers of a client: a hook for every answer, on which tracing is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from client.errors import RecommenderError


@dataclass(frozen=True, slots=True)
class ResponseInfo:
    """A request that came to its end. A call that was split made several.

    Attributes
    ----------
    procedure
        Of Triton's gRPC service: ``"ModelInfer"`` for everything but status calls.
    model
        The model asked; "" for calls about the whole server.
    request_id
        As Triton logs it.
    server
        Address of the server that answered, or was tried last; "" if none was.
    attempts, hedges
        Requests sent, and how many of them were sent because an earlier one was late.
    seconds
        From the call to its end, as the caller saw it: queue, computation, network and retries.
    error
        None if there is a result.
    parameters
        Of the response. Triton puts no queue or compute times there; ``statistics()`` has their
        means per model.
    """

    procedure: str
    model: str
    request_id: str
    server: str
    attempts: int
    hedges: int
    seconds: float
    error: RecommenderError | None
    parameters: Mapping[str, object]


class Observation(Protocol):
    """One request, watched from its start to its end."""

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Metadata to send along, such as a trace context."""
        ...

    def end(self, info: ResponseInfo) -> None: ...


class Observer(Protocol):
    """Watches requests. An exception that it raises is logged and has no other effect."""

    def start(self, procedure: str, model: str, request_id: str) -> Observation: ...


@dataclass(frozen=True, slots=True)
class Hook:
    """An observer, and each of its observations, that calls a function at the end."""

    function: Callable[[ResponseInfo], object]

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        return ()

    def start(self, procedure: str, model: str, request_id: str) -> Observation:  # noqa: ARG002
        return self

    def end(self, info: ResponseInfo) -> None:
        self.function(info)
