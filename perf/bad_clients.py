"""Clients that leave at every stage of a request, read no answer, or hold a connection for nothing.

They speak HTTP/2 by hand, since no library stops where they do.
"""

from __future__ import annotations

import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from tritonclient.grpc import service_pb2

from perf.load import INFER, infer_request
from perf.storm import Arrivals, storm

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS: Final = b"\0\0\0\x04\0\0\0\0\0"
_HALF_A_HEADER: Final = b"\0\0\x40\x01\x04\0\0\0\x01" + b"\x82" * 10
_HEADERS, _DATA = 1, 0
_END_OF_HEADERS, _END_OF_STREAM = 4, 1
_LARGEST_FRAME: Final = 1 << 14
_WINDOW: Final = (1 << 16) - 1
"""Bytes that either side sends before the other says that it has read some."""
_CANDIDATES: Final = 10_000
"""So many that their answer is larger than the window."""
_SPARE_FILES: Final = 500


def connect(address: str) -> socket.socket:
    """Connect to HOST:PORT."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def reset(connection: socket.socket) -> None:
    """Leave without a word: what was not read yet is refused."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


LEAVE: Final[Sequence[Callable[[socket.socket], None]]] = (socket.socket.close, reset)
"""How clients leave."""


def long_request() -> bytes:
    """A request to ``rank`` whose answer nobody can send to a client that does not read."""
    candidates = [str(each % 10) for each in range(_CANDIDATES)]
    plain = infer_request("rank", {"HISTORY": [], "CANDIDATE": candidates})
    request: Any = service_pb2.ModelInferRequest.FromString(plain)
    request.parameters["on_unknown"].string_param = "skip"
    return bytes(request.SerializeToString())


def _frame(kind: int, flags: int, content: bytes) -> bytes:
    stream = bool(kind == _DATA or flags)
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def spoken(message: bytes) -> bytes:
    """All that a client sends for one call of ``ModelInfer``, from its first byte on."""
    # Numbers of HPACK's table (RFC 7541): POST, http, then :path, :authority, content-type, te.
    path, host = INFER.encode(), b"localhost"
    headers = b"\x83\x86" + b"".join(
        start + bytes([len(value)]) + value
        for start, value in (
            (b"\x04", path),
            (b"\x01", host),
            (b"\x0f\x10", b"application/grpc"),
            (b"\x00\x02te", b"trailers"),
        )
    )
    body = struct.pack(">BI", 0, len(message)) + message
    if len(body) > _WINDOW:
        raise ValueError(f"{len(body)} bytes do not fit into the window")
    parts = [body[at : at + _LARGEST_FRAME] for at in range(0, len(body), _LARGEST_FRAME)]
    data = [_frame(_DATA, 0, each) for each in parts[:-1]]
    return b"".join(
        [_PREFACE, _SETTINGS, _frame(_HEADERS, _END_OF_HEADERS, headers), *data,
         _frame(_DATA, _END_OF_STREAM, parts[-1])]
    )  # fmt: skip


def stages() -> dict[str, bytes]:
    """What a client has sent when it leaves, by the stage that it has reached."""
    whole = spoken(long_request())
    return {
        "connected": b"",
        "preface": _PREFACE,
        "settings": _PREFACE + _SETTINGS,
        "half a header": _PREFACE + _SETTINGS + _HALF_A_HEADER,
        "another protocol": b"GET / HTTP/1.1\r\n",
        "half a message": whole[: len(whole) // 2],
        "all but a byte": whole[:-1],
        "a whole request": whole,
    }


def leave(address: str, sent: bytes, way: Callable[[socket.socket], None], times: int) -> None:
    """Connect, send and leave, over and over."""
    for _ in range(times):
        connection = connect(address)
        connection.sendall(sent)
        way(connection)


@contextmanager
def deaf(address: str, number: int) -> Iterator[list[socket.socket]]:
    """Clients that ask for a long answer and read none of it; they leave when the block ends."""
    whole = spoken(long_request())
    with ExitStack() as held:
        connections = [connect(address) for _ in range(number)]
        for connection in connections:
            held.callback(reset, connection)
            connection.sendall(whole)
        yield connections


@contextmanager
def idle(address: str, number: int) -> Iterator[int]:
    """Hold ``number`` connections that ask for nothing, or as many as this process may have.

    Yields how many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    number = min(number, hard - _SPARE_FILES)
    try:
        with ExitStack() as held:
            for _ in range(number):
                connection = held.enter_context(connect(address))
                connection.sendall(_PREFACE + _SETTINGS)
            yield number
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


_SECONDS: Final = 2.0


def leave_at_every_stage(address: str) -> str:
    """Leave 50 times at each stage in each way; says so."""
    found, times = stages(), 50
    for sent in found.values():
        for way in LEAVE:
            leave(address, sent, way, times)
    return f"{len(found) * len(LEAVE) * times} clients left"


def read_nothing(address: str) -> str:
    """Have 100 clients read no answer for two seconds; says so."""
    with deaf(address, 100) as found:
        time.sleep(_SECONDS)
    return f"{len(found)} clients read nothing for {_SECONDS:g} s"


def stay_idle(address: str) -> str:
    """Hold 10,000 connections for two seconds; says how many."""
    with idle(address, 10_000) as number:
        time.sleep(_SECONDS)
    return f"{number:,} connections"


def wait_too_short(address: str) -> str:
    """Let the deadlines of calls pass for two seconds, of 8 callers; says how many did."""
    request = infer_request("recommend", {"HISTORY": []})
    (found,) = storm(address, [Arrivals([request], 0.001, callers=8)], _SECONDS)
    return f"the deadlines of {found.numbers.get('DEADLINE_EXCEEDED', 0):,} calls passed"
