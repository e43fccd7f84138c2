"""The part that the blocking and the asyncio driver share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from grpc import StatusCode

from client._connections import Connection, Connections
from client._core import Attempt, Outcome
from client._proxies import proxy_between
from client.errors import ClientClosed

_NO_ANSWER: Final = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED)


@dataclass(eq=False)
class Driver:
    """Lends connections to attempts, and reads how they failed.

    Attributes
    ----------
    connections
        Of the client.
    closed
        Makes the error of a client that was closed; None while it is open.
    max_parallel
        Most plans of one command side by side.
    """

    connections: Connections
    closed: Callable[[], ClientClosed | None]
    max_parallel: int

    def lease(self, attempt: Attempt) -> Connection:
        """Return a connection to release after the attempt. Raises ClientClosed."""
        self.check_open(None)
        return self.connections.lease(attempt.endpoint)

    def failure(self, attempt: Attempt, call: Any, cause: BaseException) -> Outcome:
        """Return how a gRPC call that failed ended; raises ClientClosed if that is why."""
        code = call.code()
        if code is StatusCode.CANCELLED:
            self.check_open(cause)
        proxy = None
        if code in _NO_ANSWER:
            proxy = proxy_between(attempt.endpoint.address, attempt.endpoint.authority)
        return Outcome(
            attempt,
            code,
            details=call.details() or "",
            trailing=call.trailing_metadata() or (),
            cause=cause,
            proxy=proxy,
        )

    def check_open(self, cause: BaseException | None) -> None:
        """Raise the error of a client that was closed, from ``cause``."""
        closed = self.closed()
        if closed is not None:
            raise closed from cause
