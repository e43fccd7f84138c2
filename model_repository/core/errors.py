"""The one error that is the caller's fault."""

from __future__ import annotations


class InvalidRequest(ValueError):  # noqa: N818  (it names the request's state, not the code's)
    """A request that cannot be answered as sent; the message tells its sender what to change.

    The service gets it as INVALID_ARGUMENT, for this request alone. Any other exception is ours:
    the service gets INTERNAL and the server's log the traceback.
    """
