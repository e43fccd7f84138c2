"""Carries out the commands of a plan on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import grpc
from grpc import StatusCode

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
from client.errors import RecommenderError

_Result = TypeVar("_Result")
_Started = dict[asyncio.Task[Outcome], None]


class AsyncDriver(Driver):
    """Runs plans. To cancel the task that runs one cancels what is under way, on the server too."""

    async def run(self, plan: Plan[_Result]) -> _Result:
        """Run ``plan`` to its result."""
        started: _Started = {}
        try:
            command = next(plan)
            while True:
                if type(command) is Ask:
                    answer: Any = await self._ask(command.attempt)
                else:
                    answer = await self._carry_out(command, started)
                command = plan.send(answer)
        except StopIteration as finished:
            return cast("_Result", finished.value)
        finally:
            _cancel(started)
            plan.close()

    async def _carry_out(self, command: Command, started: _Started) -> Any:
        match command:
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Start(attempt):
                started[asyncio.ensure_future(self._ask(attempt))] = None
            case GiveUp():
                _cancel(started)
            case Together(plans):
                return await self._together(plans)
            case Await(future, seconds):
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.wrap_future(future), seconds)
            case Wait(seconds):
                return await self._first_done(started, seconds)
        return None

    async def _first_done(self, started: _Started, seconds: float | None) -> Outcome | None:
        done, _ = await asyncio.wait(started, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in started:  # the one started first, of several
            if task in done:
                del started[task]
                return task.result()
        return None

    async def _together(self, plans: Sequence[Plan[_Result]]) -> list[_Result] | RecommenderError:
        places = asyncio.Semaphore(self.max_parallel)

        async def run(plan: Plan[_Result]) -> _Result:
            async with places:
                return await self.run(plan)

        tasks = [asyncio.ensure_future(run(plan)) for plan in plans]
        try:
            return await asyncio.gather(*tasks)
        except RecommenderError as error:
            return error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, attempt: Attempt) -> Outcome:
        connection = self.lease(attempt)
        try:
            answer = await connection.method(attempt.procedure)(
                attempt.body, timeout=attempt.timeout, metadata=attempt.metadata
            )
        except grpc.aio.AioRpcError as error:
            return self.failure(attempt, error, error)
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:
            # A channel that is closed cancels its calls, and what waits for them.
            if not _is_cancelling():
                self.check_open(error)
            raise
        finally:
            self.connections.release(connection)
        return Outcome(attempt, StatusCode.OK, answer)


def _cancel(started: _Started) -> None:
    for task in started:
        task.cancel()
    started.clear()


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    # Python 3.10 cannot tell; there closing a client under a call looks like a cancelled task.
    cancelling = getattr(task, "cancelling", None)
    return bool(cancelling()) if cancelling is not None else False
