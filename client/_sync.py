"""The blocking client."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TypeVar

import grpc

from client._calls import Call, encode_call, rank_call, recommend_call
from client._channel import DEFAULT_MAX_MESSAGE_BYTES, open_channel
from client._contract import ENSEMBLES
from client._deadlines import DEFAULT_TIMEOUT, NOT_GIVEN, Deadline, Timeout
from client._inputs import OnUnknown, read_timeout
from client._protocol import Method, bind, live_request, ready_request
from client.errors import ClientClosed, DeadlineExceeded, ModelNotFound, Unavailable, map_error
from client.items import Event, Item
from client.results import Encoding, Ranking, Recommendations

_Result = TypeVar("_Result")
_Sent = TypeVar("_Sent")
_Received = TypeVar("_Received")


class RecommenderClient:
    """Asks a Triton server that holds an exported recommender.

    One connection, opened by the first call. Calls from several threads share it; close the
    client when it is no longer needed, or use it in a ``with`` statement::

        with RecommenderClient("localhost:8001") as client:
            for item in client.recommend(["50", "172"], top_k=3):
                print(item.id, item.interest)

    Parameters
    ----------
    target
        ``host:port`` of Triton's gRPC endpoint, or any name that gRPC resolves.
    timeout
        Seconds that a call may take when it is not told otherwise; None for no deadline.
    max_message_bytes
        Largest request and largest response.

    Raises
    ------
    InvalidInput
        From every method: an argument makes no sense, found here (``field`` names it) or by the
        server.
    RecommenderError
        From every method: see :mod:`client.errors` for the tree.
    """

    def __init__(
        self,
        target: str = "localhost:8001",
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        self._target = target
        self._timeout = read_timeout(timeout)
        self._channel = open_channel(target, max_message_bytes)
        self._service = bind(self._channel)
        self._closed = False

    def rank(
        self,
        history: Iterable[str | Item | Event],
        candidates: Iterable[str | Item],
        *,
        on_unknown: OnUnknown = "error",
        timeout: Timeout = NOT_GIVEN,
    ) -> Ranking:
        """Score each candidate for the user with this history.

        Parameters
        ----------
        history
            Oldest first; empty for a new user. An item that the catalogue does not know is read
            by its text, and left out (see ``Ranking.skipped``) if it has none.
        candidates
            What to score, as many as wanted.
        on_unknown
            What to do with a candidate that is neither in the catalogue nor has a text: refuse
            the request, or ``"skip"`` it, which scores it NaN.
        timeout
            Seconds; None for no deadline.
        """
        return self._infer(rank_call(history, candidates, on_unknown), timeout)

    def recommend(
        self,
        history: Iterable[str | Item | Event],
        *,
        top_k: int = 10,
        exclude: Iterable[str | Item] = (),
        include_seen: bool = False,
        timeout: Timeout = NOT_GIVEN,
    ) -> Recommendations:
        """Find the items of the catalogue that interest the user with this history most.

        Parameters
        ----------
        history
            As for :meth:`rank`.
        top_k
            How many items; fewer come back only where no more exist.
        exclude
            Items that must not come back; those that the catalogue does not know are ignored.
        include_seen
            Whether items of the history may come back.
        timeout
            Seconds; None for no deadline.
        """
        return self._infer(
            recommend_call(history, top_k, exclude, include_seen=include_seen), timeout
        )

    def encode(self, texts: Iterable[str], *, timeout: Timeout = NOT_GIVEN) -> Encoding:
        """Turn texts, at least one, into the vectors that the recommender compares items by."""
        return self._infer(encode_call(texts), timeout)

    def ready(self, *, timeout: Timeout = NOT_GIVEN) -> bool:
        """Say whether the server answers ``rank``, ``recommend`` and ``encode``.

        A server that cannot be reached, or does not say so in time, is not ready.
        """
        deadline = Deadline.after(timeout, self._timeout)
        try:
            return all(
                self._send(
                    self._service.ModelReady, ready_request(ensemble.model.name), deadline
                ).ready
                for ensemble in ENSEMBLES
            )
        except (Unavailable, DeadlineExceeded, ModelNotFound):
            return False

    def live(self, *, timeout: Timeout = NOT_GIVEN) -> bool:
        """Say whether the server runs at all, whatever models it holds."""
        deadline = Deadline.after(timeout, self._timeout)
        try:
            return self._send(self._service.ServerLive, live_request(), deadline).live
        except (Unavailable, DeadlineExceeded):
            return False

    def close(self) -> None:
        """Close the connection; calls under way fail. Closing again does nothing."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> RecommenderClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RecommenderClient({self._target!r}, timeout={self._timeout})"

    def _infer(self, call: Call[_Result], timeout: Timeout) -> _Result:
        deadline = Deadline.after(timeout, self._timeout)
        return call.parse(self._send(self._service.ModelInfer, call.request, deadline))

    def _send(
        self, method: Method[_Sent, _Received], request: _Sent, deadline: Deadline
    ) -> _Received:
        try:
            return method(request, timeout=deadline.left())
        except grpc.RpcError as error:
            if self._closed and error.code() is grpc.StatusCode.CANCELLED:
                raise self._closed_error() from error
            raise map_error(error.code(), error.details()) from error
        except ValueError as error:  # how a closed channel answers
            if self._closed:
                raise self._closed_error() from error
            raise

    def _closed_error(self) -> ClientClosed:
        return ClientClosed(f"{self!r} is closed: make a new one, and close it after its last call")
