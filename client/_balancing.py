"""Load balancing: chooses the server of a call. No I/O: time and resolved names are arguments."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from grpc import StatusCode

from client.policies import Balancing

# What a server that is ill answers, or does not. A refusal of one request is none of it. NOT_FOUND
# is what Triton says of every model while it starts.
_ILL: Final = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.UNKNOWN,
        StatusCode.DATA_LOSS,
        StatusCode.NOT_FOUND,
    }
)


@dataclass(slots=True, eq=False)
class Endpoint:
    """A server, as the balancer sees it.

    Attributes
    ----------
    address
        ``host:port``, or what else gRPC takes as a target.
    authority
        The name that the address was resolved from; None for one given as it is.
    outstanding
        Calls under way.
    failures
        In a row, since the last answer.
    ejected_until
        Moment on the caller's clock; None for a server in service.
    ejections
        In a row, since the server was last in service for good.
    probing
        The one call is under way that decides whether the server is back.
    generation
        Grows when the connection is to be made anew: gRPC remembers failed attempts to connect and
        would fail the first calls to a server that is back.
    """

    address: str
    authority: str | None = None
    outstanding: int = 0
    failures: int = 0
    ejected_until: float | None = None
    ejections: int = 0
    probing: bool = False
    generation: int = field(default=0)


class Balancer:
    """Spreads calls over the servers in service.

    ``begin`` and ``end`` frame each attempt. When no server is in service all are used: a guess
    that all of them are ill says more about the guess, or about the network, than about them.
    """

    def __init__(self, policy: Balancing) -> None:
        self._policy = policy
        self._endpoints: list[Endpoint] = []
        self._turn = 0
        self._lock = threading.Lock()

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        return self._endpoints

    def update(self, found: Sequence[tuple[str, str | None]]) -> None:
        """Take over the servers that exist now, each with the name it was resolved from.

        Those known keep their state.
        """
        with self._lock:
            known = {(each.address, each.authority): each for each in self._endpoints}
            self._endpoints = [known.get(key) or Endpoint(*key) for key in dict.fromkeys(found)]

    def begin(
        self, now: float, tried: Collection[Endpoint] = (), only: Endpoint | None = None
    ) -> tuple[Endpoint, bool]:
        """Choose a server, one not ``tried`` yet if possible, or ``only``; count the attempt.

        The second value, for ``end``, says whether the attempt decides if the server is back.
        """
        with self._lock:
            endpoint = only or self._choose(now, tried)
            probe = (
                endpoint.ejected_until is not None
                and endpoint.ejected_until <= now
                and not endpoint.probing
            )
            if probe:
                endpoint.probing = True
                endpoint.generation += 1
            endpoint.outstanding += 1
            return endpoint, probe

    def end(self, endpoint: Endpoint, code: StatusCode | None, now: float, *, probe: bool) -> None:
        """Count an attempt's end; ``code`` is None for one given up, which tells nothing."""
        with self._lock:
            endpoint.outstanding -= 1
            if probe:
                endpoint.probing = False
            if code is None:
                return
            if code not in _ILL:
                endpoint.failures = endpoint.ejections = 0
                endpoint.ejected_until = None
                return
            endpoint.failures += 1
            in_service = endpoint.ejected_until is None
            if probe or (in_service and endpoint.failures >= self._policy.eject_after):
                self._eject(endpoint, now)

    def _eject(self, endpoint: Endpoint, now: float) -> None:
        seconds = self._policy.eject_for * 2 ** min(endpoint.ejections, 32)
        endpoint.ejections += 1
        endpoint.ejected_until = now + min(self._policy.max_eject_for, seconds)

    def _choose(self, now: float, tried: Collection[Endpoint]) -> Endpoint:
        endpoints = self._endpoints
        if len(endpoints) == 1:
            return endpoints[0]
        in_service = [each for each in endpoints if _may_be_called(each, now)]
        choice = (
            [each for each in in_service if each not in tried]
            or in_service
            or [each for each in endpoints if each not in tried]
            or endpoints
        )
        self._turn += 1
        if self._policy.strategy == "least_outstanding":
            fewest = min(each.outstanding for each in choice)
            choice = [each for each in choice if each.outstanding == fewest]
        return choice[self._turn % len(choice)]


def _may_be_called(endpoint: Endpoint, now: float) -> bool:
    if endpoint.ejected_until is None:
        return True
    return endpoint.ejected_until <= now and not endpoint.probing
