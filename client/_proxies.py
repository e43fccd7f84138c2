"""Proxies of the environment: which one a connection goes through, and which servers none.

gRPC reads the variables itself, and what is read here follows it. One thing it cannot know: an
address that was found behind a name is a server of that name, and excluded when the name is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from client._addresses import host_of

_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCLUDING: Final = ("no_grpc_proxy", "no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Proxy:
    """``address`` is without the user and the password that the ``variable`` may hold."""

    variable: str
    address: str

    @property
    def hint(self) -> str:
        """What an error says of it."""
        return (
            f"{self.variable} of the environment sends this through the proxy {self.address}; "
            "no_proxy is for servers that are asked directly"
        )


def proxy_of_environment() -> Proxy | None:
    """Return the proxy that gRPC takes from the environment."""
    # The first that is set counts, be it empty.
    variable = next((each for each in _VARIABLES if each in os.environ), None)
    if variable is None:
        return None
    try:
        url = urlsplit(os.environ[variable])
    except ValueError:
        return None
    if url.scheme != "http" or not url.netloc:
        return None
    return Proxy(variable, f"http://{url.netloc.rpartition('@')[2]}")


def is_excluded(host: str) -> bool:
    """Whether the environment says that this host is asked directly.

    It does by a name, which stands for those below it too, or by a network (10.0.0.0/8). gRPC
    itself knows neither ``*`` for every host nor ``*.`` before a name, which other software does.
    """
    variable = next((each for each in _EXCLUDING if each in os.environ), None)
    entries = os.environ[variable].lower().split(",") if variable else []
    return any(_covers(entry.strip(), host.lower()) for entry in entries)


def _covers(entry: str, host: str) -> bool:
    if entry == "*":
        return True
    suffix = entry.removeprefix("*").removeprefix(".")
    if suffix and f".{host}".endswith(f".{suffix}"):
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return False


def proxy_between(address: str, name: str | None) -> Proxy | None:
    """Return the proxy on the way to a server, by its address and the name that led there."""
    host = host_of(address)
    if host is None or any(map(is_excluded, {host, name or host})):
        return None
    return proxy_of_environment()
