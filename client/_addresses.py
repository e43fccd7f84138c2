"""Where the servers are: targets are read here, and names are looked up again and again.

gRPC itself takes any text for a target. What it cannot read it takes for a name to look up, or it
asks another port (443 where none is given, 14474 for 80010), so nothing reaches it unread.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from client.errors import InvalidInput

_DEFAULT_PORT: Final = 8001
"""Where Triton serves gRPC unless it is told otherwise."""
DEFAULT_TARGET: Final = f"localhost:{_DEFAULT_PORT}"

_SAMPLE: Final = "pass host:port, such as 'localhost:8001' or '[::1]:8001'"
_AS_GIVEN: Final = ("unix", "unix-abstract", "vsock", "xds")
"""Schemes of gRPC's whose rest only gRPC can judge."""
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]+(?<!-)")
_EXAMPLES: Final = {"ipv4": "ipv4:10.0.0.1:8001", "ipv6": "ipv6:[::1]:8001"}
_PORT: Final = re.compile(r"[0-9]+")

Found = Sequence[tuple[str, str | None]]
"""Addresses, each with the name it was resolved from."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name to look up: every address behind it is a server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"dns:///{_join(self.host, self.port)}"

    def look_up(self) -> Found:
        """Resolve the name to addresses, in a stable order. Raises OSError or UnicodeError."""
        answers = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        hosts = sorted({str(answer[4][0]) for answer in answers})
        return [(_join(host, self.port), self.host) for host in hosts]


def read_targets(targets: str | Iterable[str]) -> tuple[str | Name, ...]:
    """Check the argument ``targets`` and tell addresses from names."""
    given = [targets] if isinstance(targets, str) else _list(targets)
    if not given:
        raise InvalidInput.at("targets", targets, "name at least one server")
    several = not isinstance(targets, str)
    return tuple(
        _read_target(target, f"targets[{position}]" if several else "targets")
        for position, target in enumerate(given)
    )


def host_of(address: str) -> str | None:
    """Return the host of an address that was read; None where it has none, as a socket file."""
    scheme, colon, rest = address.partition(":")
    if scheme in _AS_GIVEN:
        return None
    if scheme in ("dns", "ipv4", "ipv6") and colon:
        address = rest.rpartition("/")[2].partition(",")[0]
    return address.rpartition(":")[0].strip("[]")


def _list(targets: Iterable[str]) -> list[str]:
    try:
        return list(targets)
    except TypeError as error:
        raise InvalidInput.at("targets", targets, "pass 'host:port' or a list of such") from error


def _read_target(target: object, field: str) -> str | Name:
    if not isinstance(target, str) or not target:
        raise InvalidInput.at(field, target, _SAMPLE)
    try:
        return _parse(target)
    except ValueError as error:
        problem = str(error)
        if "pass " not in problem:
            problem += "; pass dns:///name:port" if target.startswith("dns:") else f"; {_SAMPLE}"
        raise InvalidInput.at(field, target, problem) from None


# The functions below raise ValueError, with what is to be passed instead where it is another form.


def _parse(target: str) -> str | Name:
    if any(character.isspace() or not character.isprintable() for character in target):
        raise ValueError("it has spaces in it")
    scheme, colon, rest = target.partition(":")
    scheme = scheme.lower()
    if not colon:
        return _join(*_read_host(target))
    if scheme in ("http", "https") and rest.startswith("//"):
        raise ValueError(
            "gRPC takes no such address; pass host:port of the server's gRPC port (8001 by "
            "default)" + (", and tls=Tls()" if scheme == "https" else "")
        )
    if scheme == "grpc" and rest.startswith("//"):
        return _join(*_read_host(rest[2:].removesuffix("/")))
    if scheme in _AS_GIVEN:
        if not rest.strip("/"):
            raise ValueError(f"nothing follows {scheme}:")
        return target
    if scheme == "dns":
        return _read_dns(rest)
    if scheme in ("ipv4", "ipv6"):
        return _read_addresses(scheme, rest)
    if "://" in target:
        raise ValueError(f"{scheme}:// is not known")
    return _join(*_read_host(target))


def _read_dns(rest: str) -> str | Name:
    """Read what follows ``dns:``; without three slashes gRPC looks it up, and takes one address."""
    if rest.startswith("///"):
        return Name(*_read_host(rest[3:]))
    if rest.startswith("//"):
        server, slash, name = rest[2:].partition("/")
        if not slash:
            raise ValueError("pass dns:///name:port, with three slashes")
        return f"dns://{_join(*_read_host(server, 53))}/{_join(*_read_host(name))}"
    if _PORT.fullmatch(rest):
        raise ValueError(f"pass dns:///name:port; a host called dns is dns:///dns:{rest}")
    return f"dns:{_join(*_read_host(rest))}"


def _read_addresses(scheme: str, rest: str) -> str:
    """Read the addresses behind ``ipv4:`` or ``ipv6:``, which make one server."""
    found = []
    for part in rest.removeprefix("///").split(","):
        host, port = _read_host(part)
        if (":" in host) != (scheme == "ipv6") or _numeric(host) is None:
            raise ValueError(f"after {scheme}: goes an address; pass {_EXAMPLES[scheme]!r}")
        found.append(_join(host, port))
    return f"{scheme}:{','.join(found)}"


def _read_host(text: str, default_port: int = _DEFAULT_PORT) -> tuple[str, int]:
    """Tell host from port. An IPv6 address needs brackets where it has a port."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or _ipv6(host) is None:
            raise ValueError("within brackets goes an IPv6 address; pass '[::1]:8001'")
        return host, _read_port(rest[1:]) if rest else default_port
    if "," in text:
        raise ValueError("pass several servers as a list, ['a:8001', 'b:8001']")
    if text.count(":") > 1:
        return _read_bare_ipv6(text), default_port
    host, colon, port = text.partition(":")
    return _check_host(host), _read_port(port) if colon else default_port


def _read_bare_ipv6(text: str) -> str:
    before, _, last = text.rpartition(":")
    with_port = before and _ipv6(before) is not None and _PORT.fullmatch(last)
    if _ipv6(text) is None:
        hint = f"[{before}]:{last}" if with_port else "[::1]:8001"
        raise ValueError(f"pass an IPv6 address in brackets, '{hint}'")
    if with_port:
        raise ValueError(
            f"this is an address, or an address and a port; pass '[{text}]:{_DEFAULT_PORT}' or "
            f"'[{before}]:{last}'"
        )
    return text


def _read_port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 0 < int(text) < 2**16:
        raise ValueError(f"the port is {text!r}, and must be a number from 1 to 65535")
    return int(text)


def _check_host(host: str) -> str:
    """Return the host as DNS has it."""
    if not host:
        raise ValueError("there is no host before the port")
    try:
        host = host.encode("idna").decode()
    except UnicodeError:
        raise ValueError("no host has this name") from None
    labels = host.removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("no host has this name")
    # Of digits at the end the system's look-up makes an address: 10.1 is 10.0.0.1.
    if _PORT.fullmatch(labels[-1]) and _numeric(host) is None:
        raise ValueError("this is no IPv4 address, and no name ends in a number")
    return host


def _numeric(host: str) -> IPv4Address | IPv6Address | None:
    if ":" in host:
        return _ipv6(host)
    try:
        return IPv4Address(host)
    except AddressValueError:
        return None


def _ipv6(host: str) -> IPv6Address | None:
    try:
        return IPv6Address(host)
    except AddressValueError:
        return None


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
