"""How one connection is opened: its gRPC options and credentials."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from client._proxies import proxy_between
from client.errors import InvalidInput
from client.policies import Connection, Tls

_OPTIONS: Final = (
    # gRPC waits up to two minutes before it tries again to connect, and fails every call until
    # then; a server that restarts is back in seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Channels to one address share a connection otherwise, and a new channel would not be a new
    # connection.
    ("grpc.use_local_subchannel_pool", 1),
    # What the client retries is decided here alone, not by a record in somebody's DNS.
    ("grpc.service_config_disable_resolution", 1),
    # No pings without calls: servers answer those by hanging up.
    ("grpc.keepalive_permit_without_calls", 0),
)


@dataclass(frozen=True, slots=True)
class ChannelFactory:
    """Opens channels, which connect when they are first used.

    ``library`` is ``grpc``, or ``grpc.aio`` for channels bound to the running event loop.
    """

    library: Any
    connection: Connection
    tls: Tls | None

    def open(self, address: str, authority: str | None) -> Any:
        """Open a channel; InvalidInput names a TLS file that is unreadable or does not fit."""
        options = self._options(authority)
        if proxy_between(address, authority) is None:
            options.append(("grpc.enable_http_proxy", 0))
        if self.tls is None:
            return self.library.insecure_channel(address, options=options)
        return self.library.secure_channel(address, _credentials(self.tls), options=options)

    def version(self) -> object:
        """Return something that changes when a TLS file does."""
        if self.tls is None:
            return None
        try:
            states = [path.stat() for path in self.tls.files.values()]
        except OSError:
            # Half-way through a rotation; the connection that is there still works.
            return None
        return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states)

    def _options(self, authority: str | None) -> list[tuple[str, Any]]:
        options: list[tuple[str, Any]] = [
            *_OPTIONS,
            ("grpc.keepalive_time_ms", round(self.connection.keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.max_send_message_length", self.connection.max_message_bytes),
            ("grpc.max_receive_message_length", self.connection.max_message_bytes),
        ]
        if self.tls is not None and self.tls.server_name is not None:
            authority = self.tls.server_name
        if authority is not None:
            # Also the name that the certificate is checked against.
            options.append(("grpc.default_authority", authority))
        return options


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    content = {name: _read(f"tls.{name}", path) for name, path in tls.files.items()}
    _check(tls)
    return grpc.ssl_channel_credentials(
        content.get("ca"), content.get("key"), content.get("certificate")
    )


def _read(field: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput.at(field, str(path), f"cannot be read: {error.strerror}") from error


def _check(tls: Tls) -> None:
    """Refuse files that gRPC would take for a server that cannot be reached."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")  # how strong keys must be is the server's to say
    files = tls.files
    if "ca" in files:
        try:
            context.load_verify_locations(files["ca"])
        except ssl.SSLError as error:
            raise InvalidInput.at(
                "tls.ca", str(files["ca"]), f"has no certificates in PEM form: {_reason(error)}"
            ) from error
    if "key" in files:
        try:
            context.load_cert_chain(files["certificate"], files["key"], password=_no_password)
        except ssl.SSLError as error:
            raise InvalidInput.at(
                "tls.key",
                str(files["key"]),
                f"is not the key, in PEM form and without a password, of tls.certificate "
                f"{files['certificate']}: {_reason(error)}",
            ) from error


def _no_password() -> str:
    """Keep OpenSSL from asking at the terminal; gRPC takes no password at all."""
    return ""


def _reason(error: ssl.SSLError) -> str:
    return error.reason or str(error)
