"""Carries out the commands of a plan with blocking calls."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import grpc
from grpc import StatusCode

from client._connections import Connection
from client._core import (
    Ask,
    Attempt,
    Await,
    Command,
    GiveUp,
    Outcome,
    Pause,
    Plan,
    Start,
    Together,
    Wait,
)
from client._driver import Driver
from client.errors import Cancelled, RecommenderError

_Result = TypeVar("_Result")


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


@dataclass(eq=False)
class SyncDriver(Driver):
    """Runs plans, each in the thread that calls."""

    def run(self, plan: Plan[_Result], scope: Scope | None = None) -> _Result:
        """Run ``plan`` to its result; within ``scope`` it can be given up."""
        running: _Running | None = None
        try:
            command = next(plan)
            while True:
                if scope is None and type(command) is Ask:  # the usual case
                    answer: Any = self._ask(command.attempt)
                else:
                    running = running or _Running(self, scope)
                    answer = self._carry_out(command, running, scope)
                command = plan.send(answer)
        except StopIteration as done:
            return cast("_Result", done.value)
        finally:
            if running is not None:
                running.cancel()
            plan.close()

    def start(self, attempt: Attempt) -> tuple[Any, Connection]:
        """Send a request; returns the future of its answer, and the connection to release."""
        connection = self.lease(attempt)
        try:
            method = connection.method(attempt.procedure)
            future = method.future(attempt.body, timeout=attempt.timeout, metadata=attempt.metadata)
        except BaseException as error:
            self.connections.release(connection)
            if isinstance(error, ValueError):  # how a channel answers that was closed meanwhile
                self.check_open(error)
            raise
        return future, connection

    def _ask(self, attempt: Attempt) -> Outcome:
        # Not by a future: its answer comes through a thread of gRPC's, which takes longer.
        connection = self.lease(attempt)
        try:
            answer = connection.method(attempt.procedure)(
                attempt.body, timeout=attempt.timeout, metadata=attempt.metadata
            )
        except grpc.RpcError as error:
            return self.failure(attempt, error, error)
        except ValueError as error:
            self.check_open(error)
            raise
        finally:
            self.connections.release(connection)
        return Outcome(attempt, StatusCode.OK, answer)

    def _carry_out(self, command: Command, running: _Running, scope: Scope | None) -> Any:
        match command:
            case Ask(attempt):
                running.start(attempt)
                return running.wait(None)
            case Pause(seconds):
                _pause(seconds, scope)
            case Start(attempt):
                running.start(attempt)
            case GiveUp():
                running.cancel()
            case Wait(seconds):
                return running.wait(seconds)
            case Together(plans):
                return self._together(plans, scope)
            case Await(future, seconds):
                wait([future], seconds)
        return None

    def _together(
        self, plans: Sequence[Plan[_Result]], scope: Scope | None
    ) -> list[_Result] | RecommenderError:
        inner = Scope()
        if scope is not None:
            scope.add(inner)
        # Threads of this call's own: those of another may all wait for a server that hangs.
        pool = ThreadPoolExecutor(
            min(len(plans), self.max_parallel), thread_name_prefix="client-parts"
        )
        futures: list[Future[_Result]] = []
        try:
            futures.extend(
                # What belongs to the call, such as its trace, belongs to its parts.
                pool.submit(contextvars.copy_context().run, self.run, plan, inner)
                for plan in plans
            )
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [each for each in futures if each.done() and each.exception() is not None]
            return [each.result() for each in failed[:1] or futures]
        except RecommenderError as error:
            return error
        finally:
            inner.cancel()
            pool.shutdown(cancel_futures=True)
            if scope is not None:
                scope.discard(inner)


class _Running:
    """The attempts of one plan that run beside it."""

    def __init__(self, driver: SyncDriver, scope: Scope | None) -> None:
        self._driver = driver
        self._scope = scope
        self._started: dict[Attempt, tuple[Any, Connection]] = {}
        self._done: queue.SimpleQueue[Attempt] = queue.SimpleQueue()  # also what was given up

    def start(self, attempt: Attempt) -> None:
        future, _ = self._started[attempt] = self._driver.start(attempt)
        if self._scope is not None:
            self._scope.add(future)
        future.add_done_callback(lambda _: self._done.put(attempt))

    def wait(self, seconds: float | None) -> Outcome | None:
        end = None if seconds is None else time.monotonic() + seconds
        attempt: Attempt | None = None
        while attempt not in self._started:
            left = None if end is None else max(0.0, end - time.monotonic())
            try:
                attempt = self._done.get(timeout=left)
            except queue.Empty:
                return None
        assert attempt is not None
        future = self._finish(attempt)
        if future.cancelled():
            _raise_cancelled()
        if future.code() is StatusCode.OK:
            return Outcome(attempt, StatusCode.OK, future.result())
        return self._driver.failure(attempt, future, future.exception())

    def cancel(self) -> None:
        for attempt in list(self._started):
            self._finish(attempt)

    def _finish(self, attempt: Attempt) -> Any:
        future, connection = self._started.pop(attempt)
        if self._scope is not None:
            self._scope.discard(future)
        future.cancel()  # does nothing to one that is done
        self._driver.connections.release(connection)
        return future


def _pause(seconds: float, scope: Scope | None) -> None:
    if scope is None:
        time.sleep(seconds)
    elif scope.cancelled.wait(seconds):
        _raise_cancelled()


def _raise_cancelled() -> None:
    raise Cancelled(
        "CANCELLED: the call was given up (call again if the result is still wanted)",
        code=StatusCode.CANCELLED,
    )
