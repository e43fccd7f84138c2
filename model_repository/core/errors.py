"""The errors that are not ours: the caller's fault, too many callers, another model's failure."""

from __future__ import annotations

import re
from typing import Final

_NO_MEMORY: Final = re.compile(
    r"can't start new thread|bad_alloc|bad allocation|Failed to allocate (memory for|\d+ bytes)"
)
"""What Python says where a thread gets no stack, C++, ONNX Runtime and OpenVINO."""


class InvalidRequest(ValueError):  # noqa: N818  (it names the request's state, not the code's)
    """A request that cannot be answered as sent; the message tells its sender what to change.

    The service gets it as INVALID_ARGUMENT, for this request alone. Any other exception is ours:
    the service gets INTERNAL and the server's log the traceback.
    """


class Overloaded(RuntimeError):  # noqa: N818  (it names a state of the server)
    """Another model of the server refused a part of the work, since it has too much."""


class Unavailable(RuntimeError):  # noqa: N818  (it names a state of the server)
    """Another model of the server, which a part of the work needs, does not answer."""


class UserEncoderFailed(RuntimeError):  # noqa: N818  (it names what happened)
    """There are no states of users, so nothing can be ranked for them."""


class UserEncoderUnavailable(UserEncoderFailed, Unavailable):
    """There are none since the model ``user_encoder`` does not answer."""


_OF_REQUESTS: Final = (
    ValueError,
    TypeError,
    LookupError,
    Overloaded,
    Unavailable,
    UserEncoderFailed,
)
"""Errors that may quote what a caller has sent; none of them says that there is no memory."""


def lacks_memory(error: Exception) -> bool:
    """Whether this process gets no memory, which is no failure of a request.

    The next one of its size fails as well.
    """
    if isinstance(error, _OF_REQUESTS):
        return False
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))
