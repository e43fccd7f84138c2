"""Where the servers are: addresses as given, and names that are looked up again and again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

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

    def found(self, answers: Iterable[tuple[Any, ...]]) -> Found:
        """Turn what ``getaddrinfo`` returned into addresses, in a stable order."""
        hosts = sorted({answer[4][0] for answer in answers})
        return [
            (f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}", self.host)
            for host in hosts
        ]

    def look_up(self) -> Found | OSError:
        """Resolve the name; what keeps that from succeeding is returned."""
        try:
            return self.found(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        except OSError as error:
            return error

    async def look_up_async(self) -> Found | OSError:
        """Resolve the name as ``look_up`` does, off the event loop's thread."""
        loop = asyncio.get_running_loop()
        try:
            return self.found(await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        except OSError as error:
            return error


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
