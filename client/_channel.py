"""How the client holds its connection."""

from __future__ import annotations

from typing import Final

import grpc

from client.errors import InvalidInput

DEFAULT_MAX_MESSAGE_BYTES: Final = 64 * 2**20
"""Largest request and largest response: some 40,000 vectors, or a million ids."""

_OPTIONS: Final = (
    # A peer that vanished without a word (a pulled cable, a forgotten NAT entry) is noticed while
    # a call waits for it. No pings without calls: servers answer those by hanging up.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # gRPC waits up to two minutes before it tries again to connect, and fails every call until
    # then; a server that restarts is back in seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def open_channel(target: str, max_message_bytes: int) -> grpc.Channel:
    """Return a channel to ``target``, which connects when it is first used."""
    if not isinstance(target, str) or not target or target.startswith(("http://", "https://")):
        raise InvalidInput.at("target", target, "pass host:port, such as 'localhost:8001'")
    if (
        not isinstance(max_message_bytes, int)
        or isinstance(max_message_bytes, bool)
        or not 0 < max_message_bytes < 2**31  # an int in C
    ):
        raise InvalidInput.at("max_message_bytes", max_message_bytes, "pass bytes, below 2 GiB")
    limits = (
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
    )
    return grpc.insecure_channel(target, options=(*_OPTIONS, *limits))
