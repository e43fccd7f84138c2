"""The base of both clients: their arguments, and checks before each call. No I/O."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from client import _inputs
from client._addresses import DEFAULT_TARGET, read_targets
from client._channel import ChannelFactory
from client._connections import Connections
from client._core import Core
from client._deadlines import DEFAULT_TIMEOUT
from client._discovery import Discovery
from client._service import Service, Token, authorization
from client.errors import ClientClosed, ClientMisused
from client.observers import Hook, Observer, ResponseInfo
from client.policies import (
    DEFAULT_BALANCING,
    DEFAULT_CONNECTION,
    DEFAULT_RETRY,
    Balancing,
    Connection,
    Hedge,
    Retry,
    Tls,
)


class Client:
    """The arguments of a client, and its connections."""

    _library: ClassVar[Any]
    """``grpc`` or ``grpc.aio``."""
    _to_close: ClassVar[str]
    """How the client is closed, in words."""

    def __init__(
        self,
        targets: str | Iterable[str] = DEFAULT_TARGET,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry: Retry = DEFAULT_RETRY,
        hedge: Hedge | None = None,
        balancing: Balancing = DEFAULT_BALANCING,
        connection: Connection = DEFAULT_CONNECTION,
        tls: Tls | None = None,
        token: Token | None = None,
        metadata: Mapping[str, str] | None = None,
        max_parallel: int = 8,
        on_response: Callable[[ResponseInfo], object] | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Check the arguments; connections are opened by the first call that needs them.

        Parameters
        ----------
        targets
            ``host:port`` of Triton's gRPC endpoint, 8001 without a port, or several.
            ``dns:///name:port`` stands for every address behind the name, looked up again from
            time to time.
        timeout
            Seconds that a call may take when it is not told otherwise, with all its retries and
            parts; None for no deadline.
        retry, hedge, balancing, connection, tls
            See :mod:`client.policies`. Hedging is off by default.
        token
            Sent as ``authorization: Bearer …``; or a function that returns it, asked before each
            call.
        metadata
            Sent with every call, beside what a call adds itself.
        max_parallel
            Most requests that one call is split into at a time.
        on_response
            Called with a :class:`ResponseInfo` after each request.
        observers
            What else watches, such as ``client.otel.OpenTelemetry()``.

        Raises
        ------
        InvalidInput
            From every method: an argument makes no sense, found here or by the server; ``field``
            names it.
        RecommenderError
            From every method: see :mod:`client.errors` for the tree.
        """
        self._is_closed = False
        self._home: tuple[int, object] = (os.getpid(), None)
        read = read_targets(targets)
        self._targets = tuple(map(str, read))
        self._timeout = _inputs.read_timeout(timeout)
        self._max_parallel = _inputs.read_count(max_parallel, "max_parallel")
        observers = tuple(observers)
        _inputs.check_kinds(
            retry=(retry, (Retry,)),
            hedge=(hedge, (Hedge, type(None))),
            balancing=(balancing, (Balancing,)),
            connection=(connection, (Connection,)),
            tls=(tls, (Tls, type(None))),
        )
        _inputs.check_hooks(on_response, observers)
        self._factory = ChannelFactory(self._library, connection, tls)
        hooks = [] if on_response is None else [Hook(on_response)]
        core = Core(retry, hedge, balancing, [*hooks, *observers])
        if token is not None and not callable(token):
            authorization(token)
        self._service = Service(
            core,
            Discovery(read, core.balancer, balancing.resolve_every, core.clock),
            self._timeout,
            _inputs.read_metadata(metadata),
            token,
        )
        self._connections = Connections(
            self._factory, core.balancer, self._close_channel, core.clock
        )
        self._start()

    def __repr__(self) -> str:
        # Where and how long, and never what authenticates it.
        where = repr(self._targets[0]) if len(self._targets) == 1 else repr(list(self._targets))
        secure = ", tls=True" if self._factory.tls is not None else ""
        return f"{type(self).__name__}({where}, timeout={self._timeout}{secure})"

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True) and getattr(self, "_connections", None):
            warnings.warn(
                f"{self!r} was never closed; {self._to_close}",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def _start(self) -> None:
        """Make what carries plans out."""
        raise NotImplementedError

    def _close_channel(self, channel: Any) -> None:
        raise NotImplementedError

    def _closed(self) -> ClientClosed | None:
        """Return the error of a client that was closed, None while it is open."""
        if not self._is_closed:
            return None
        return ClientClosed(f"{self!r} is closed: make a new one, and close it after its last call")

    def _check(self, loop: object = None) -> None:
        """Refuse a closed client, and connections of another process or event loop."""
        closed = self._closed()
        if closed is not None:
            raise closed
        home = (os.getpid(), loop)
        if home != self._home:
            if self._connections:
                owner = "" if loop is None else "another event loop or of "
                raise ClientMisused(
                    f"{self!r} has connections of {owner}the process that this one was "
                    "forked from; make a new client here, or make the first call of this one after "
                    "the fork"
                )
            self._home = home

    def _drain(self) -> list[Any] | None:
        """Close the client, and return the channels to close; None if another process has them."""
        self._is_closed = True
        channels = self._connections.drain()
        return channels if self._home[0] == os.getpid() else None
