"""How a tritonserver is reached: in the clear, or by TLS."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import grpc

from builder.errors import ServingError

_DIRECT: Final = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
]
"""The server is one that this machine has started: no proxy stands between. While it starts, gRPC
would wait a second and more before it tries to connect again."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """TLS on the gRPC port.

    Attributes
    ----------
    certificate, key
        PEM files, the server's own.
    authority
        PEM file: who signed the certificate.
    mutual
        Let in only clients whose certificate the same authority signed. The server's own must be
        fit for a client too then.
    """

    certificate: Path
    key: Path
    authority: Path
    mutual: bool = False

    def options(self) -> dict[str, str]:
        """Return tritonserver's options."""
        options = {
            "grpc-use-ssl": "true",
            "grpc-server-cert": str(self.certificate.resolve()),
            "grpc-server-key": str(self.key.resolve()),
        }
        if self.mutual:
            options["grpc-use-ssl-mutual"] = "true"
            options["grpc-root-cert"] = str(self.authority.resolve())
        return options


def open_channel(address: str, tls: ServerTls | None) -> grpc.Channel:
    """Connect to a server of ours; raises as `served_name` does."""
    if tls is None:
        return grpc.insecure_channel(address, _DIRECT)
    name = served_name(tls)
    authority, key, certificate = (
        file.read_bytes() for file in (tls.authority, tls.key, tls.certificate)
    )
    own = (key, certificate) if tls.mutual else (None, None)
    return grpc.secure_channel(
        address,
        grpc.ssl_channel_credentials(authority, *own),
        # Clients come by the name in the certificate, and we by an address of this machine.
        [*_DIRECT, ("grpc.ssl_target_name_override", name)],
    )


def served_name(tls: ServerTls) -> str:
    """The first name or address that the certificate is valid for.

    Raises
    ------
    ServingError
        A file cannot be read, or they do not belong together: found out by a handshake in memory.
    """
    try:
        for file in (tls.certificate, tls.key, tls.authority):
            file.read_bytes()
    except OSError as error:
        raise ServingError(
            f"TLS: {error.filename} cannot be read: {error.strerror}; name a PEM file"
        ) from error
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(tls.certificate, tls.key)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(tls.authority)
        if tls.mutual:
            server.load_verify_locations(tls.authority)
            server.verify_mode = ssl.CERT_REQUIRED
            client.load_cert_chain(tls.certificate, tls.key)
        names = _handshake(server, client)
    except ssl.SSLError as error:
        raise ServingError(
            f"TLS: {tls.certificate}, {tls.key} and {tls.authority} do not go together: "
            f"{error.reason or error}; check that the key is the certificate's, that the authority "
            "signed it" + (" and that it is fit for clients too" if tls.mutual else "")
        ) from error
    if not names:
        raise ServingError(
            f"TLS: {tls.certificate} names no host (subjectAltName); have it issued with one"
        )
    return names[0].replace("*", "any")


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> list[str]:
    """Let the two shake hands, and return the names of the server's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server),
    ]
    while ends:
        for end in list(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)
                if not end.server_side:
                    found = end.getpeercert() or {}
    alternatives = cast("tuple[tuple[str, str], ...]", found.get("subjectAltName", ()))
    return [value for kind, value in alternatives if kind in ("DNS", "IP Address")]
