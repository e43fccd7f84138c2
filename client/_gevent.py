"""Notices gevent, whose greenlets gRPC must be told of."""

from __future__ import annotations

import sys
import warnings

from grpc._cython import cygrpc  # type: ignore[attr-defined]

from client.errors import GeventWarning


def warn_of_gevent(stacklevel: int) -> None:
    """Warn where gevent has replaced sockets or threads, and gRPC waits without it.

    gRPC is not told here: that changes every channel of the process, those of others too.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not any(map(monkey.is_module_patched, ("socket", "threading"))):
        return
    # A gRPC that does not say whether it was told is not complained of.
    if getattr(cygrpc, "g_gevent_activated", True):
        return
    warnings.warn(
        "gevent has patched this process and gRPC was not told: each call keeps all greenlets "
        "waiting, and gevent's timeouts have no effect; after monkey.patch_all() run `import "
        "grpc.experimental.gevent; grpc.experimental.gevent.init_gevent()`",
        GeventWarning,
        stacklevel=stacklevel + 1,
    )
