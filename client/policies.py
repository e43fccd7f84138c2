"""How a client behaves when servers fail, are slow, or are many. All values are checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Final, Literal, get_args

from client.errors import InvalidInput

Strategy = Literal["round_robin", "least_outstanding"]

DEFAULT_MAX_MESSAGE_BYTES: Final = 64 * 2**20
"""Largest request and largest response: some 40,000 vectors, or a million ids."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed call is sent again: exponential back-off with full jitter, within a budget.

    Only what is safe is repeated: a server that cannot be reached or takes no requests
    (UNAVAILABLE), one that is overloaded (ALREADY_EXISTS), one of several that does not hold the
    model (NOT_FOUND, as Triton answers while it starts), and any failure that comes with the
    server's own push-back (``grpc-retry-pushback-ms``), which also sets the pause. Ranking changes
    nothing on the server, so an attempt whose answer was lost may be repeated too.

    Attributes
    ----------
    attempts
        Most attempts of one call, the first included; 1 for no retries.
    initial_backoff, max_backoff
        Seconds. Before attempt n + 1 the client waits a random time between zero and
        ``min(max_backoff, initial_backoff * 2 ** (n - 1))``.
    budget
        Most retries and hedges per call, over many calls: 0.1 lets a storm of failures add a
        tenth to the load, however many calls fail.
    reserve
        Retries that may be done ahead of the budget, so that a client's first failures are
        retried too; the calls that follow pay them back.
    """

    attempts: int = 3
    initial_backoff: float = 0.01
    max_backoff: float = 0.5
    budget: float = 0.1
    reserve: int = 10

    def __post_init__(self) -> None:
        _integer("retry.attempts", self.attempts, 1)
        _number("retry.initial_backoff", self.initial_backoff, 0)
        _number("retry.max_backoff", self.max_backoff, 0)
        _number("retry.budget", self.budget, 0)
        _integer("retry.reserve", self.reserve, 0)


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second request while the first is slow: the first answer wins, the other is cancelled.

    Hedges draw on the budget of :class:`Retry`.

    Attributes
    ----------
    after
        Seconds before the second request; None for the ``percentile`` of the latest answers' times.
    percentile
        Of the answers' times, 0 to 100.
    """

    after: float | None = None
    percentile: float = 95.0

    def __post_init__(self) -> None:
        if self.after is not None:
            _number("hedge.after", self.after, 0)
        _number("hedge.percentile", self.percentile, 0, 100)


@dataclass(frozen=True, slots=True)
class Balancing:
    """How calls are spread over several servers.

    Attributes
    ----------
    strategy
        ``"round_robin"``, or ``"least_outstanding"``: the server with the fewest calls under way.
    eject_after
        Failures in a row (no connection, no answer in time, an internal error) after which a
        server gets no more calls for a while.
    eject_for, max_eject_for
        Seconds of the first ejection; each that follows is twice as long, up to the maximum. Then
        one call is let through on a new connection: if it is answered, the server is back.
    resolve_every
        Seconds between look-ups of ``dns:///`` targets.
    """

    strategy: Strategy = "round_robin"
    eject_after: int = 3
    eject_for: float = 1.0
    max_eject_for: float = 30.0
    resolve_every: float = 30.0

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise InvalidInput.at(
                "balancing.strategy", self.strategy, "pass 'round_robin' or 'least_outstanding'"
            )
        _integer("balancing.eject_after", self.eject_after, 1)
        _number("balancing.eject_for", self.eject_for, 0)
        _number("balancing.max_eject_for", self.max_eject_for, 0)
        _number("balancing.resolve_every", self.resolve_every, 0)


@dataclass(frozen=True, slots=True)
class Connection:
    """How connections are held.

    Attributes
    ----------
    max_age
        Seconds (give or take a tenth) after which a connection is replaced by a new one, while the
        calls under way end on the old one; None to keep it. A load balancer that spreads
        connections, as a Kubernetes Service does, sees new servers only this way.
    keepalive
        Seconds without traffic during a call after which the server is asked for a sign of life.
        gRPC's servers end the connection of a client that asks more often than every 300 s, unless
        they are told otherwise; ``python -m builder serve`` and
        :class:`client.testing.FakeServer` let it ask every 5 s. A shorter time than the default
        is for calls of minutes behind a load balancer that forgets connections at rest. A server
        that vanishes while a request is on its way is noticed after 5 s in any case.
    max_message_bytes
        Largest request and largest response.
    """

    max_age: float | None = 300.0
    keepalive: float = 300.0
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES

    def __post_init__(self) -> None:
        if self.max_age is not None:
            _number("connection.max_age", self.max_age, 0)
        _number("connection.keepalive", self.keepalive, 0.001, 2e6)
        if not _is_integer(self.max_message_bytes) or not 0 < self.max_message_bytes < 2**31:
            raise InvalidInput.at(
                "connection.max_message_bytes", self.max_message_bytes, "pass bytes, below 2 GiB"
            )


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS, and with ``certificate`` and ``key`` mutual TLS; all files are PEM.

    The files are read when a connection is made. When one of them changes, connections made from
    then on use the new content, and the old ones are retired: rotation needs no restart.

    Attributes
    ----------
    ca
        Authorities that the server's certificate is checked against; None for gRPC's own list.
    certificate, key
        The client's certificate chain and its private key.
    server_name
        The name that the server's certificate must carry, where it is not the target's own.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput.at(
                "tls.key" if self.key is None else "tls.certificate",
                None,
                "mutual TLS needs both, the certificate and its key; pass both or neither",
            )

    @property
    def files(self) -> Mapping[str, Path]:
        """The files in use, by the attribute that names them."""
        named = {"ca": self.ca, "key": self.key, "certificate": self.certificate}
        return {name: Path(path) for name, path in named.items() if path is not None}


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _integer(field: str, value: object, least: int) -> None:
    if not _is_integer(value) or value < least:  # type: ignore[operator]
        raise InvalidInput.at(field, value, f"pass an int of at least {least}")


def _number(field: str, value: object, least: float, most: float = 1e9) -> None:
    # The comparison is false for NaN.
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= most:
        raise InvalidInput.at(field, value, f"pass a number between {least:g} and {most:g}")


DEFAULT_RETRY: Final = Retry()
DEFAULT_BALANCING: Final = Balancing()
DEFAULT_CONNECTION: Final = Connection()
