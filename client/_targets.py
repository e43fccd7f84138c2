"""Where the servers are: addresses as given, and names that are looked up again and again."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from client.errors import InvalidInput

DEFAULT_TARGET: Final = "localhost:8001"
_DNS: Final = "dns:///"
_DEFAULT_PORT: Final = "8001"

Found = Sequence[tuple[str, str | None]]
"""Addresses, each with the name it was resolved from."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name to look up: every address behind it is a server."""

    host: str
    port: str

    def __str__(self) -> str:
        return f"{_DNS}{self.host}:{self.port}"

    def look_up(self) -> Found:
        """Resolve the name to addresses, in a stable order. Raises OSError or UnicodeError."""
        answers = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        hosts = sorted({str(answer[4][0]) for answer in answers})
        return [
            (f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}", self.host)
            for host in hosts
        ]


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


def _list(targets: Iterable[str]) -> list[str]:
    try:
        return list(targets)
    except TypeError as error:
        raise InvalidInput.at("targets", targets, "pass 'host:port' or a list of such") from error


def _read_target(target: object, field: str) -> str | Name:
    if not isinstance(target, str) or not target or target.startswith(("http://", "https://")):
        raise InvalidInput.at(field, target, "pass host:port, such as 'localhost:8001'")
    if not target.startswith(_DNS):
        return target
    host, colon, port = target.removeprefix(_DNS).rpartition(":")
    if not colon:
        host, port = port, _DEFAULT_PORT
    if not host or not port.isdecimal():
        raise InvalidInput.at(field, target, "pass dns:///name:port")
    return Name(host.strip("[]"), port)
