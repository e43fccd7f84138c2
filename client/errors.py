"""The client's errors: one tree, mapped from the gRPC status code in one place.

::

    RecommenderError
    ├── InvalidInput (also ValueError)         what was sent makes no sense: correct it
    ├── DeadlineExceeded (also TimeoutError)   no answer in time
    ├── Cancelled                              given up before the answer came
    ├── Unavailable (also ConnectionError)     no server there, or one that takes no requests
    ├── Overloaded                             a limit of the server or of the channel was hit
    ├── ModelNotFound                          the server does not hold the model
    ├── InferenceFailed                        the model failed on this request
    ├── MalformedResponse                      an answer that breaks the wire contract
    ├── Unauthenticated                        the server does not know the caller
    ├── PermissionDenied                       the server knows, and refuses
    ├── Unsupported                            the server does not offer this call
    ├── ClientClosed                           the client was closed before or during the call
    └── ClientMisused (also RuntimeError)      used in a forked process or another event loop

Two services that speak different languages say the same with the same code, so the class is
chosen by the code alone, never by the text of a message.
"""

# The names say what happened and are read after "except"; "Error" would add nothing to them.
# ruff: noqa: N818

from __future__ import annotations

import reprlib
from typing import Final

from grpc import StatusCode


class GeventWarning(RuntimeWarning):
    """gevent has patched the process, and gRPC was not told to work with it."""


class RecommenderError(Exception):
    """Anything that keeps a call from its result.

    Attributes
    ----------
    code
        The gRPC status that the call ended with; None where no server was asked, or where its
        answer arrived and was rejected.
    details
        What the server or the gRPC library said, unchanged; "" where they said nothing.
    request_id
        Of the request, as the server's log has it; "" where none was sent.
    """

    def __init__(self, message: str, *, code: StatusCode | None = None, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details
        self.request_id = ""


class InvalidInput(RecommenderError, ValueError):
    """The request makes no sense; sending it again gives the same answer.

    Attributes
    ----------
    field
        The argument at fault, such as ``candidates[3].id``; None where the server refused the
        request without naming one. The server's own words are in ``details``.
    value
        What was given there.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        code: StatusCode | None = None,
        details: str = "",
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.field = field
        self.value = value

    @classmethod
    def at(cls, field: str, value: object, problem: str) -> InvalidInput:
        """Refuse ``value`` of the argument ``field``; ``problem`` says what is due instead."""
        # Shortened: a text of a megabyte must not end up in somebody's log.
        return cls(f"{field} is {reprlib.repr(value)}: {problem}", field=field, value=value)


class DeadlineExceeded(RecommenderError, TimeoutError):
    """No answer within the call's timeout. The server may or may not have done the work."""


class Cancelled(RecommenderError):
    """The call was given up, by this process or by the server, before an answer came."""


class Unavailable(RecommenderError, ConnectionError):
    """The server cannot be reached, or takes no requests at the moment."""


class Overloaded(RecommenderError):
    """A limit was hit: the server's queue or memory, a quota, or the size of a message."""


class ModelNotFound(RecommenderError):
    """The server runs, but its model repository does not offer the model asked for."""


class InferenceFailed(RecommenderError):
    """The model failed on this request. The fault lies with the server."""


class MalformedResponse(RecommenderError):
    """The answer lacks a tensor, or one has another type, shape or length than is due."""


class Unauthenticated(RecommenderError):
    """The server wants credentials, or does not accept those sent."""


class PermissionDenied(RecommenderError):
    """The server refuses this caller."""


class Unsupported(RecommenderError):
    """The server does not offer this call: no Triton, or one of another version."""


class ClientClosed(RecommenderError):
    """The client was closed before the call, or while it was under way."""


class ClientMisused(RecommenderError, RuntimeError):
    """The client holds connections of another process or event loop, where it must be used."""


_REFUSED: Final = "correct the request; the same one gets the same answer"
_FAILED: Final = "look for the cause in the server's log"

_BY_CODE: Final[dict[StatusCode, tuple[type[RecommenderError], str]]] = {
    StatusCode.CANCELLED: (Cancelled, "call again if the result is still wanted"),
    StatusCode.UNKNOWN: (InferenceFailed, _FAILED),
    StatusCode.INVALID_ARGUMENT: (InvalidInput, _REFUSED),
    StatusCode.DEADLINE_EXCEEDED: (
        DeadlineExceeded,
        "pass a longer timeout=, send less, or see what keeps the server busy",
    ),
    StatusCode.NOT_FOUND: (
        ModelNotFound,
        "check the target, and that the server's model repository holds a finished export",
    ),
    # What our models say: a backend of Triton's has no RESOURCE_EXHAUSTED, and nothing in Triton
    # says this of an inference.
    StatusCode.ALREADY_EXISTS: (Overloaded, "wait before calling again"),
    StatusCode.PERMISSION_DENIED: (PermissionDenied, "ask the server's operator for access"),
    StatusCode.RESOURCE_EXHAUSTED: (
        Overloaded,
        "wait before calling again; a message over a size limit needs splitting",
    ),
    StatusCode.FAILED_PRECONDITION: (InferenceFailed, _FAILED),
    StatusCode.ABORTED: (InferenceFailed, _FAILED),
    StatusCode.OUT_OF_RANGE: (InvalidInput, _REFUSED),
    StatusCode.UNIMPLEMENTED: (
        Unsupported,
        "check that the target is the gRPC port of a Triton server (8001 by default)",
    ),
    StatusCode.INTERNAL: (InferenceFailed, _FAILED),
    StatusCode.UNAVAILABLE: (
        Unavailable,
        "check the target (host:port) and that the server runs and is ready; then call again",
    ),
    StatusCode.DATA_LOSS: (InferenceFailed, _FAILED),
    StatusCode.UNAUTHENTICATED: (Unauthenticated, "check the credentials of this client"),
}


def map_error(code: StatusCode, details: str | None, hint: str = "") -> RecommenderError:
    """Return the error that stands for a call ended by ``code``, for the caller to raise.

    ``details`` is the text that came with the code, ``hint`` what else the caller knows of the
    cause. Chain the result to the gRPC error.
    """
    kind, advice = _BY_CODE.get(code, _BY_CODE[StatusCode.UNKNOWN])
    said = details or ""
    if hint:
        advice = f"{hint}; {advice}"
    return kind(f"{code.name}: {said or 'no details'} ({advice})", code=code, details=said)
