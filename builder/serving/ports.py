"""Ports: free ones to listen on, and a plain word about those that are taken."""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from builder.errors import ServingError

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104 # nothing is bound
_FIRST: Final = 10_000
"""Below are the ports that programs are known by."""
_OF_CONNECTIONS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES: Final = 20


def claim_ports(host: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Choose a free port wherever 0 is wanted, and make sure that the others are free.

    Parameters
    ----------
    wanted
        Purpose ("gRPC") to port.

    Raises
    ------
    ServingError
        Every port that is taken, wanted twice, not permitted or not a port; or an unknown host.
    """
    family, address = resolve(host)
    ports: dict[str, int] = {}
    problems: list[str] = []
    with contextlib.ExitStack() as held:
        # Named ports first, so that a chosen one never is a named one.
        for purpose, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            try:
                probe = held.enter_context(_listening(family, address, port))
            except (OSError, OverflowError) as error:  # noqa: PERF203  (each is told)
                if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
                    raise _not_here(host, str(error.strerror)) from error
                twice = next((name for name, other in ports.items() if other == port), None)
                problems.append(_problem(purpose, host, port, error, twice))
            else:
                ports[purpose] = probe.getsockname()[1]
    if problems:
        raise ServingError("; ".join(problems) + "; name other ports, or 0 for any that is free")
    return ports


def _listening(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """Listen on ``port``; 0: on a free one, if possible one that Linux gives to no connection.

    A server takes its ports seconds after they were chosen, and again when it is started anew. Of
    those that Linux chooses, a connection may have one by then: even that of a client which tries
    to reach this very port.
    """
    if port == 0:
        last = int(_OF_CONNECTIONS.read_text().split()[0])
        for _ in range(_TRIES if last > _FIRST else 0):
            chosen = _FIRST + secrets.randbelow(last - _FIRST)
            with contextlib.suppress(OSError):
                return _listening(family, address, chosen)
    probe = socket.socket(family, socket.SOCK_STREAM)
    try:
        # As servers do: connections of an earlier server that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        # Bound but not listening sockets may share a port that both reuse.
        probe.listen(1)
    except BaseException:
        probe.close()
        raise
    return probe


def resolve(host: str) -> tuple[socket.AddressFamily, str]:
    """The numbers that stand for a host, which tritonserver must be given: it resolves no names.

    Raises
    ------
    ServingError
        The host is not an address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise _not_here(host, str(error)) from error
    return family, str(address[0])


def _not_here(host: str, reason: str) -> ServingError:
    return ServingError(
        f"host {host!r} is not an address of this machine: {reason}; use 127.0.0.1 for this "
        "machine alone or 0.0.0.0 for every network"
    )


def address_of(host: str, port: int) -> str:
    """Where clients on this machine connect to what listens on ``host``, as host:port."""
    host = _ANY_ADDRESS.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listens(host: str, port: int, timeout: float) -> bool:
    """Whether somebody listens there, within ``timeout`` seconds."""
    try:
        socket.create_connection((_ANY_ADDRESS.get(host, host), port), timeout).close()
    except OSError:
        return False
    return True


def _problem(
    purpose: str, host: str, port: int, error: OSError | OverflowError, twice: str | None
) -> str:
    where = f"the {purpose} port {port} on {host}"
    if twice is not None:
        return f"{where} is the {twice} port too"
    if isinstance(error, OverflowError):
        return f"{where} is not a port (0 to 65535)"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another program"
    return f"{where} cannot be opened: {error.strerror}"
