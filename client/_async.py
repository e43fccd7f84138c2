"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

import grpc.aio

from client import _methods
from client._async_driver import AsyncDriver
from client._async_many import answers
from client._client import Client
from client._core import Plan
from client._many import Many
from client._methods import published
from client._service import Service
from client.results import Answer, Result, User

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def _awaited(
    plan: Callable[Concatenate[Service, _Parameters], Plan[_Result]],
) -> Callable[Concatenate[AsyncRecommenderClient, _Parameters], Coroutine[Any, Any, _Result]]:
    async def call(
        client: AsyncRecommenderClient, /, *args: _Parameters.args, **options: _Parameters.kwargs
    ) -> _Result:
        return await client._run(plan(client._service, *args, **options))  # noqa: SLF001

    return published(call, plan)


def _streaming(
    many: Callable[Concatenate[Service, _Parameters], Many[User, Result]],
) -> Callable[
    Concatenate[AsyncRecommenderClient, _Parameters], AsyncIterator[Answer[User, Result]]
]:
    def call(
        client: AsyncRecommenderClient, /, *args: _Parameters.args, **options: _Parameters.kwargs
    ) -> AsyncIterator[Answer[User, Result]]:
        return answers(client._run, many(client._service, *args, **options))  # noqa: SLF001

    return published(call, many, "AsyncIterator[Answer[{}]]")


class AsyncRecommenderClient(Client):
    """:class:`RecommenderClient` for asyncio: the same methods, to be awaited.

    ::

        async with AsyncRecommenderClient("localhost:8001") as client:
            for item in await client.recommend(["50", "172"], top_k=3):
                print(item.id, item.interest)

    Belongs to the event loop of its first call; another loop is refused with
    :class:`ClientMisused`. Cancelling the task of a call, or closing the iterator of
    ``rank_many``, ``recommend_many`` or ``related_many``, cancels its requests on the server.
    """

    rank = _awaited(_methods.rank)
    recommend = _awaited(_methods.recommend)
    related = _awaited(_methods.related)
    observe = _awaited(_methods.observe)
    encode = _awaited(_methods.encode)
    classify = _awaited(_methods.classify)
    rank_many = _streaming(_methods.rank_many)
    recommend_many = _streaming(_methods.recommend_many)
    related_many = _streaming(_methods.related_many)
    ready = _awaited(_methods.ready)
    live = _awaited(_methods.live)
    metadata = _awaited(_methods.metadata)
    statistics = _awaited(_methods.statistics)

    async def close(self) -> None:
        """Close the connections; calls under way fail. Closing again does nothing."""
        channels = self._drain()
        if channels is not None:
            await asyncio.gather(*(channel.close() for channel in channels), *self._closing)

    async def __aenter__(self) -> AsyncRecommenderClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    _library: ClassVar[Any] = grpc.aio
    _to_close: ClassVar[str] = "use it in an async with statement, or await close()"

    def _start(self) -> None:
        self._closing: set[asyncio.Task[None]] = set()
        self._driver = AsyncDriver(self._connections, self._closed, self._max_parallel)

    def _close_channel(self, channel: Any) -> None:
        task = asyncio.ensure_future(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _run(self, plan: Plan[_Result]) -> _Result:
        self._check(asyncio.get_running_loop())
        return await self._driver.run(plan)
