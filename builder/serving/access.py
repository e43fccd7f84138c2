"""How a tritonserver is reached: in the clear, or by TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from builder.errors import ServingError

_DIRECT: Final = [("grpc.enable_http_proxy", 0)]
"""The server is one that this machine has started: no proxy stands between."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """TLS on the gRPC port.

    Attributes
    ----------
    certificate, key
        PEM files, the server's own. It must be valid for the address that is served, where its
        start is watched.
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
    """Connect to a server of ours; ServingError names a file that cannot be read."""
    if tls is None:
        return grpc.insecure_channel(address, _DIRECT)
    try:
        authority, key, certificate = (
            file.read_bytes() for file in (tls.authority, tls.key, tls.certificate)
        )
    except OSError as error:
        raise ServingError(f"TLS: {error.filename} cannot be read: {error.strerror}") from error
    own = (key, certificate) if tls.mutual else (None, None)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, *own), _DIRECT)
