"""The connections of a client: one per server, replaced when it is old or its server was away."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from client._balancing import Balancer, Endpoint
from client._channel import ChannelFactory
from client._protocol import Procedure
from client.errors import InvalidInput

_CHECK_FILES_EVERY: Final = 1.0  # seconds


@dataclass(slots=True, eq=False)
class Connection:
    """A channel and its procedures, each bound once: binding costs more than many a call."""

    channel: Any
    generation: int
    version: object
    expires: float
    leases: int = 0
    retired: bool = False
    bound: dict[str, Any] = field(default_factory=dict)

    def method(self, procedure: Procedure[Any]) -> Any:
        method = self.bound.get(procedure.name)
        if method is None:
            method = self.bound[procedure.name] = self.channel.unary_unary(procedure.path)
        return method


class Connections:
    """Lends the connection to a server; a retired one is closed when its last call has ended.

    Parameters
    ----------
    factory
        Opens channels, and says which version of the TLS files is in use.
    balancer
        Knows the servers; connections to those that are gone are retired.
    close_channel
        Blocking or asyncio's.
    clock
        Seconds.
    """

    def __init__(
        self,
        factory: ChannelFactory,
        balancer: Balancer,
        close_channel: Callable[[Any], None],
        clock: Callable[[], float],
    ) -> None:
        self._factory = factory
        self._balancer = balancer
        self._servers: Sequence[Endpoint] = ()
        self._close = close_channel
        self._clock = clock
        self._held: dict[Endpoint, Connection] = {}
        self._retired: set[Connection] = set()
        self._version: object = factory.version()
        self._check_files_at = clock() + _CHECK_FILES_EVERY
        self._lock = threading.Lock()
        self._rng = random.Random()

    def __bool__(self) -> bool:
        return bool(self._held or self._retired)

    def lease(self, endpoint: Endpoint) -> Connection:
        """Return a connection to use; InvalidInput where its TLS files are no such files."""
        with self._lock:
            now = self._clock()
            if self._servers is not self._balancer.endpoints:
                self._servers = self._balancer.endpoints
                for gone in self._held.keys() - set(self._servers):
                    self._retire(self._held.pop(gone))
            if self._factory.tls is not None and now >= self._check_files_at:
                self._check_files_at = now + _CHECK_FILES_EVERY
                # None: the files cannot be read just now.
                self._version = self._factory.version() or self._version
            held = self._held.get(endpoint)
            if (
                held is None
                or held.generation != endpoint.generation
                or held.version != self._version
                or now >= held.expires
            ):
                held = self._replaced(held, endpoint, now)
            held.leases += 1
            return held

    def release(self, connection: Connection) -> None:
        with self._lock:
            connection.leases -= 1
            if connection.retired and not connection.leases:
                self._retired.discard(connection)
                self._close(connection.channel)

    def drain(self) -> list[Any]:
        """Forget every connection, and return the channels for the caller to close."""
        with self._lock:
            channels = [each.channel for each in (*self._held.values(), *self._retired)]
            self._held.clear()
            self._retired.clear()
            return channels

    def _replaced(self, held: Connection | None, endpoint: Endpoint, now: float) -> Connection:
        try:
            fresh = self._connect(endpoint, now)
        except InvalidInput:
            if held is None or held.generation != endpoint.generation:
                raise
            return held  # half-way through a rotation; the connection that is there still works
        if held is not None:
            self._retire(held)
        self._held[endpoint] = fresh
        return fresh

    def _connect(self, endpoint: Endpoint, now: float) -> Connection:
        age = self._factory.connection.max_age
        return Connection(
            channel=self._factory.open(endpoint.address, endpoint.authority),
            generation=endpoint.generation,
            version=self._version,
            # Spread out, so that the clients of a fleet do not all reconnect at once.
            expires=float("inf") if age is None else now + age * self._rng.uniform(0.9, 1.1),
        )

    def _retire(self, connection: Connection) -> None:
        connection.retired = True
        if connection.leases:
            self._retired.add(connection)
        else:
            self._close(connection.channel)
