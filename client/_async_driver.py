"""Carries out the commands of a plan on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

import grpc
from grpc import StatusCode

from client._connections import Connection, Connections
from client._core import Ask, Attempt, Outcome, Pause, Plan, Start, Wait
from client.errors import RecommenderError

_Result = TypeVar("_Result")
_Connection = Connection[Any]


class AsyncDriver:
    """Runs plans; ``closed`` makes the error of a client that was closed, None while it is open.

    Cancelling the task that runs a plan cancels what is under way, on the server too.
    """

    def __init__(
        self, connections: Connections[Any], closed: Callable[[], RecommenderError | None]
    ) -> None:
        self._connections = connections
        self._closed = closed

    async def run(self, plan: Plan[_Result]) -> _Result:
        """Run ``plan`` to its result."""
        started: dict[asyncio.Task[Outcome], None] = {}
        try:
            command = next(plan)
            while True:
                outcome: Outcome | None = None
                if type(command) is Ask:
                    outcome = await self._ask(command.attempt)
                elif type(command) is Pause:
                    await asyncio.sleep(command.seconds)
                elif type(command) is Start:
                    started[asyncio.ensure_future(self._ask(command.attempt))] = None
                else:
                    done, _ = await asyncio.wait(
                        started,
                        timeout=cast("Wait", command).seconds,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    for task in started:  # the one started first, of several
                        if task in done:
                            del started[task]
                            outcome = task.result()
                            break
                command = plan.send(outcome)
        except StopIteration as finished:
            return cast("_Result", finished.value)
        finally:
            for task in started:
                task.cancel()
            plan.close()

    async def _ask(self, attempt: Attempt) -> Outcome:
        closed = self._closed()
        if closed is not None:
            raise closed
        connection = self._connections.lease(attempt.endpoint)
        try:
            answer = await connection.method(attempt.procedure)(
                attempt.body, timeout=attempt.timeout, metadata=attempt.metadata
            )
        except grpc.aio.AioRpcError as error:
            return self._failure(attempt, error)
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:
            closed = self._closed()
            # A channel that is closed cancels its calls, and what waits for them.
            if closed is not None and not _is_cancelling():
                raise closed from error
            raise
        finally:
            self._connections.release(connection)
        return Outcome(attempt, StatusCode.OK, answer)

    def _failure(self, attempt: Attempt, error: grpc.aio.AioRpcError) -> Outcome:
        code = error.code()
        if code is StatusCode.CANCELLED:
            closed = self._closed()
            if closed is not None:
                raise closed from error
        return Outcome(
            attempt,
            code,
            details=error.details() or "",
            trailing=tuple(cast("Any", error.trailing_metadata()) or ()),
            cause=error,
        )


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    # Python 3.10 cannot tell; there closing a client under a call looks like a cancelled task.
    cancelling = getattr(task, "cancelling", None)
    return bool(cancelling()) if cancelling is not None else False
