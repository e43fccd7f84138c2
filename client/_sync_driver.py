"""Carries out the commands of a plan with blocking calls."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import grpc
from grpc import StatusCode

from client._connections import Connection, Connections
from client._core import Ask, Attempt, Outcome, Pause, Plan, Start, Wait
from client.errors import Cancelled, RecommenderError

_Result = TypeVar("_Result")
_Connection = Connection[grpc.Channel]


class _Cancellable(Protocol):
    def cancel(self) -> object: ...


class Scope:
    """Calls, and scopes within, that can be given up together, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[_Cancellable] = set()
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        """Cancel what runs, on the server too, and whatever would be started later."""
        with self._lock:
            self.cancelled.set()
            running = list(self._running)
        for future in running:
            future.cancel()

    def add(self, future: _Cancellable) -> None:
        with self._lock:
            self._running.add(future)
            late = self.cancelled.is_set()
        if late:
            future.cancel()

    def discard(self, future: _Cancellable) -> None:
        with self._lock:
            self._running.discard(future)


class Driver:
    """Runs plans; ``closed`` makes the error of a client that was closed, None while it is open."""

    def __init__(
        self,
        connections: Connections[grpc.Channel],
        closed: Callable[[], RecommenderError | None],
    ) -> None:
        self._connections = connections
        self._closed = closed

    def run(self, plan: Plan[_Result], scope: Scope | None = None) -> _Result:
        """Run ``plan`` to its result; within ``scope`` it can be given up."""
        started: _Started | None = None
        try:
            command = next(plan)
            while True:
                outcome: Outcome | None = None
                if type(command) is Ask:
                    outcome = self._ask(command.attempt, scope)
                elif type(command) is Pause:
                    _pause(command.seconds, scope)
                else:
                    started = started or _Started(self, scope)
                    if type(command) is Start:
                        started.start(command.attempt)
                    else:
                        outcome = started.wait(cast("Wait", command).seconds)
                command = plan.send(outcome)
        except StopIteration as done:
            return cast("_Result", done.value)
        finally:
            if started is not None:
                started.cancel()
            plan.close()

    def connect(self, attempt: Attempt) -> _Connection:
        closed = self._closed()
        if closed is not None:
            raise closed
        return self._connections.lease(attempt.endpoint)

    def release(self, connection: _Connection) -> None:
        self._connections.release(connection)

    def call(self, connection: _Connection, attempt: Attempt) -> grpc.Future[Any]:
        try:
            return cast(
                "grpc.Future[Any]",
                connection.method(attempt.procedure).future(
                    attempt.body, timeout=attempt.timeout, metadata=attempt.metadata
                ),
            )
        except ValueError as error:  # how a channel answers that was closed meanwhile
            raise self._closed() or error from error

    def read(self, future: Any, attempt: Attempt) -> Outcome:
        """Return how a call that is done ended."""
        code = future.code()
        if code is StatusCode.OK:
            return Outcome(attempt, code, future.result())
        return self._failure(attempt, future, future.exception())

    def _ask(self, attempt: Attempt, scope: Scope | None) -> Outcome:
        connection = self.connect(attempt)
        try:
            if scope is None:
                return self._ask_blocking(connection, attempt)
            future = self.call(connection, attempt)
            scope.add(future)
            try:
                future.exception()  # waits
            except grpc.FutureCancelledError as error:
                _raise_cancelled(error)
            finally:
                future.cancel()  # does nothing to one that is done
                scope.discard(future)
            return self.read(future, attempt)
        finally:
            self._connections.release(connection)

    def _ask_blocking(self, connection: _Connection, attempt: Attempt) -> Outcome:
        try:
            answer = connection.method(attempt.procedure)(
                attempt.body, timeout=attempt.timeout, metadata=attempt.metadata
            )
        except grpc.RpcError as error:
            return self._failure(attempt, error, error)
        except ValueError as error:  # how a channel answers that was closed meanwhile
            raise self._closed() or error from error
        return Outcome(attempt, StatusCode.OK, answer)

    def _failure(self, attempt: Attempt, call: Any, cause: BaseException) -> Outcome:
        code = call.code()
        if code is StatusCode.CANCELLED:
            closed = self._closed()
            if closed is not None:
                raise closed from cause
        return Outcome(
            attempt,
            code,
            details=call.details() or "",
            trailing=call.trailing_metadata() or (),
            cause=cause,
        )


class _Started:
    """Attempts under way side by side."""

    def __init__(self, driver: Driver, scope: Scope | None) -> None:
        self._driver = driver
        self._scope = scope
        self._running: dict[Attempt, tuple[grpc.Future[Any], _Connection]] = {}
        self._done: queue.SimpleQueue[Attempt] = queue.SimpleQueue()

    def start(self, attempt: Attempt) -> None:
        connection = self._driver.connect(attempt)
        try:
            future = self._driver.call(connection, attempt)
        except BaseException:
            self._driver.release(connection)
            raise
        self._running[attempt] = future, connection
        if self._scope is not None:
            self._scope.add(future)
        future.add_done_callback(lambda _: self._done.put(attempt))

    def wait(self, seconds: float | None) -> Outcome | None:
        try:
            attempt = self._done.get(timeout=seconds)
        except queue.Empty:
            return None
        future = self._finish(attempt)
        if future.cancelled():
            _raise_cancelled(None)
        return self._driver.read(future, attempt)

    def cancel(self) -> None:
        for attempt in list(self._running):
            self._finish(attempt).cancel()

    def _finish(self, attempt: Attempt) -> grpc.Future[Any]:
        future, connection = self._running.pop(attempt)
        if self._scope is not None:
            self._scope.discard(future)
        if not future.done():
            future.cancel()
        self._driver.release(connection)
        return future


def _pause(seconds: float, scope: Scope | None) -> None:
    if scope is None:
        time.sleep(seconds)
    elif scope.cancelled.wait(seconds):
        _raise_cancelled(None)


def _raise_cancelled(cause: BaseException | None) -> None:
    raise Cancelled(
        "CANCELLED: the call was given up (call again if the result is still wanted)",
        code=StatusCode.CANCELLED,
    ) from cause
