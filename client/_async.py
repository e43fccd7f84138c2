"""The client for asyncio: method for method the blocking one, over the same core."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from client import _inputs
from client._async_driver import AsyncDriver
from client._async_many import answers, paired
from client._balancing import Endpoint
from client._calls import Call, classify_call, encode_call, rank_call, recommend_call
from client._configuration import Labels, Limits, labels_plan, limits_plan
from client._connections import Connections
from client._core import Context, Plan, perform
from client._deadlines import DEFAULT_TIMEOUT, NOT_GIVEN, Deadline, Timeout
from client._inputs import OnUnknown
from client._many import ManyOptions, OnError, read_many_options
from client._responses import name_labels
from client._settings import Settings, Token
from client._status import (
    RECOMMENDER_MODELS,
    all_that_came,
    any_says_yes,
    live_plan,
    metadata_plan,
    ready_plan,
    statistics_plan,
)
from client._targets import DEFAULT_TARGET
from client.errors import ClientMisused, InvalidInput, RecommenderError
from client.items import Event, Item, Profile
from client.observers import Observer, ResponseInfo
from client.policies import (
    DEFAULT_BALANCING,
    DEFAULT_CONNECTION,
    DEFAULT_RETRY,
    Balancing,
    Connection,
    Hedge,
    Retry,
    Tls,
)
from client.results import (
    Answer,
    Classification,
    Encoding,
    ModelStatistics,
    Ranking,
    Recommendations,
    ServerMetadata,
    User,
)

_Result = TypeVar("_Result")

History = Iterable[str | Item | Event]
Candidates = Iterable[str | Item]


class AsyncRecommenderClient:
    """:class:`RecommenderClient` for asyncio; its methods and arguments are described there.

    ::

        async with AsyncRecommenderClient("localhost:8001") as client:
            for item in await client.recommend(["50", "172"], top_k=3):
                print(item.id, item.interest)

    Belongs to the event loop of its first call; another loop is refused with
    :class:`ClientMisused`. Cancelling the task of a call, or closing the iterator of
    ``rank_many`` or ``recommend_many``, cancels its requests on the server.
    """

    def __init__(
        self,
        targets: str | Iterable[str] = DEFAULT_TARGET,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry: Retry = DEFAULT_RETRY,
        hedge: Hedge | None = None,
        balancing: Balancing = DEFAULT_BALANCING,
        connection: Connection = DEFAULT_CONNECTION,
        tls: Tls | None = None,
        token: Token | None = None,
        metadata: Mapping[str, str] | None = None,
        max_parallel: int = 8,
        on_response: Callable[[ResponseInfo], object] | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look_up: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._settings = Settings(
            targets,
            timeout=timeout,
            retry=retry,
            hedge=hedge,
            balancing=balancing,
            connection=connection,
            tls=tls,
            token=token,
            metadata=metadata,
            max_parallel=max_parallel,
            on_response=on_response,
            observers=observers,
        )
        self._core = self._settings.core
        self._connections: Connections[Any] = Connections(
            self._settings.factory,
            self._settings.factory.open_async,
            self._close_later,
            self._core.clock,
        )
        self._driver = AsyncDriver(self._connections, self._closed)

    async def rank(
        self,
        history: History,
        candidates: Candidates,
        *,
        on_unknown: OnUnknown = "error",
        profile: Profile | None = None,
        timeout: Timeout = NOT_GIVEN,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Ranking:
        """Score each candidate; see ``RecommenderClient.rank``."""
        call = rank_call(history, candidates, on_unknown, profile, self._settings.stable)
        return await self._infer(call, self._context(timeout, request_id, metadata))

    async def recommend(
        self,
        history: History,
        *,
        top_k: int = 10,
        exclude: Candidates = (),
        include_seen: bool = False,
        profile: Profile | None = None,
        timeout: Timeout = NOT_GIVEN,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Recommendations:
        """Find the best items; see ``RecommenderClient.recommend``."""
        call = recommend_call(
            history, top_k, exclude, profile, self._settings.stable, include_seen=include_seen
        )
        return await self._infer(call, self._context(timeout, request_id, metadata))

    async def encode(
        self,
        texts: Iterable[str],
        *,
        timeout: Timeout = NOT_GIVEN,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Encoding:
        """Turn texts, at least one, into the vectors that the recommender compares items by."""
        return await self._infer(encode_call(texts), self._context(timeout, request_id, metadata))

    async def classify(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        timeout: Timeout = NOT_GIVEN,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Classification:
        """Label texts or pairs; see ``RecommenderClient.classify``."""
        call = classify_call(texts, pairs, self._settings.stable)
        context = self._context(timeout, request_id, metadata)
        scores = await self._infer(call, context)
        return name_labels(scores, await self._labels(scores.version, context))

    def rank_many(
        self,
        users: Iterable[tuple[History, Candidates]] | AsyncIterable[tuple[History, Candidates]],
        *,
        profiles: Iterable[Profile | None] | AsyncIterable[Profile | None] = (),
        on_unknown: OnUnknown = "error",
        concurrency: int = 16,
        ordered: bool = True,
        on_error: OnError = "raise",
        progress: Callable[[int], object] | None = None,
        timeout: Timeout = NOT_GIVEN,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer[tuple[History, Candidates], Ranking]]:
        """Rank for a stream of users; see ``RecommenderClient.rank_many``."""
        return self._many(
            lambda user, profile: rank_call(*user, on_unknown, profile, self._settings.stable),
            paired(users, profiles),
            read_many_options(concurrency, ordered, on_error, progress, timeout, metadata),
        )

    def recommend_many(
        self,
        histories: Iterable[History] | AsyncIterable[History],
        *,
        profiles: Iterable[Profile | None] | AsyncIterable[Profile | None] = (),
        top_k: int = 10,
        include_seen: bool = False,
        concurrency: int = 16,
        ordered: bool = True,
        on_error: OnError = "raise",
        progress: Callable[[int], object] | None = None,
        timeout: Timeout = NOT_GIVEN,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer[History, Recommendations]]:
        """Recommend to a stream of users, each a history; as :meth:`rank_many` otherwise."""
        return self._many(
            lambda user, profile: recommend_call(
                user, top_k, (), profile, self._settings.stable, include_seen=include_seen
            ),
            paired(histories, profiles),
            read_many_options(concurrency, ordered, on_error, progress, timeout, metadata),
        )

    async def ready(
        self, *, models: Iterable[str] = RECOMMENDER_MODELS, timeout: Timeout = NOT_GIVEN
    ) -> bool:
        """Say whether any server answers all of ``models``."""
        names = _inputs.read_models(models)
        return any_says_yes(await self._ask_all(partial(ready_plan, self._core, names), timeout))

    async def live(self, *, timeout: Timeout = NOT_GIVEN) -> bool:
        """Say whether any server runs at all, whatever models it holds."""
        return any_says_yes(await self._ask_all(partial(live_plan, self._core), timeout))

    async def metadata(
        self, *, models: Iterable[str] = (), timeout: Timeout = NOT_GIVEN
    ) -> ServerMetadata:
        """Return what a server is, its version, and the tensors of the models asked for."""
        names = _inputs.read_models(models)
        context = self._context(timeout, None, None)
        return await self._run(metadata_plan(self._core, names, context), context)

    async def statistics(
        self, *, model: str | None = None, timeout: Timeout = NOT_GIVEN
    ) -> list[ModelStatistics]:
        """Return what the servers counted for one model or all: requests, queue, computation."""
        return all_that_came(
            await self._ask_all(partial(statistics_plan, self._core, model), timeout)
        )

    async def close(self) -> None:
        """Close the connections; calls under way fail. Closing again does nothing."""
        self._is_closed = True
        channels = self._connections.drain()
        if self._settings.in_other_process():
            return  # they are the parent's
        await asyncio.gather(*(channel.close() for channel in channels), *self._closing)

    async def __aenter__(self) -> AsyncRecommenderClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True) and getattr(self, "_connections", None):
            warnings.warn(
                f"{self!r} was never closed; use it in an async with statement, or await close()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        return self._settings.describe("AsyncRecommenderClient")

    def _context(
        self,
        timeout: Timeout,
        request_id: str | None,
        metadata: Mapping[str, str] | None,
    ) -> Context:
        return self._settings.context(timeout, request_id, metadata)

    def _closed(self) -> RecommenderError | None:
        return self._settings.closed("AsyncRecommenderClient") if self._is_closed else None

    def _close_later(self, channel: Any) -> None:
        task = asyncio.ensure_future(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _prepare(self, deadline: Deadline) -> None:
        """Refuse what cannot be used, and find the servers where they go by name."""
        if self._is_closed:
            raise self._settings.closed("AsyncRecommenderClient")
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._settings.in_other_process():
            if self._connections:
                raise ClientMisused(
                    f"{self!r} has connections of another event loop or of the process that this "
                    "one was forked from; make a new client here"
                )
            self._loop = loop
            self._settings.adopt_process()
        if self._settings.discovery.names:
            await self._find_servers(deadline)

    async def _find_servers(self, deadline: Deadline) -> None:
        """Look the names up when it is time to; only a call that knows no server yet waits."""
        discovery = self._settings.discovery
        if discovery.due():
            self._look_up = asyncio.ensure_future(self._look_names_up())
        if not discovery.has_servers:
            if self._look_up is not None:
                await asyncio.wait([self._look_up], timeout=deadline.left())
            if not discovery.has_servers:
                waited = self._look_up is not None and not self._look_up.done()
                raise discovery.nobody(waited=waited)

    async def _look_names_up(self) -> None:
        discovery = self._settings.discovery
        for name in discovery.names:
            discovery.learn(name, await name.look_up_async())
        discovery.done()
        self._connections.keep(self._core.balancer.endpoints)

    async def _run(self, plan: Plan[_Result], context: Context) -> _Result:
        try:
            await self._prepare(context.deadline)
        except BaseException:
            plan.close()
            raise
        return await self._driver.run(plan)

    async def _infer(self, call: Call[_Result], context: Context) -> _Result:
        try:
            return await self._infer_parts(call, context)
        except InvalidInput as error:
            if call.large and error.code is not None:
                # Perhaps the repository was exported anew, with other limits.
                self._settings.limits.pop(call.model, None)
            raise

    async def _infer_parts(self, call: Call[_Result], context: Context) -> _Result:
        limits = await self._limits(call, context) if call.large else Limits()
        parts = call.split(limits)
        if len(parts) == 1:
            return await self._run(perform(self._core, parts[0], context), context)
        await self._prepare(context.deadline)
        return call.join(
            await self._side_by_side(
                [
                    perform(self._core, part, context.part(number))
                    for number, part in enumerate(parts, 1)
                ]
            )
        )

    async def _limits(self, call: Call[_Result], context: Context) -> Limits:
        known = self._settings.limits
        if call.model not in known:
            call.split(Limits())  # what is wrong with the arguments is said before anything is sent
            asking = context.part(0)
            known[call.model] = await self._run(limits_plan(self._core, call.model, asking), asking)
        return known[call.model]

    async def _labels(self, version: str, context: Context) -> Labels:
        known = self._settings.labels
        if version not in known:
            asking = context.part(0)
            known[version] = await self._run(labels_plan(self._core, version, asking), asking)
        return known[version]

    async def _side_by_side(self, plans: Sequence[Plan[_Result]]) -> list[_Result]:
        """Run ``plans``, bounded; the first error gives the others up."""
        places = asyncio.Semaphore(self._settings.max_parallel)

        async def run(plan: Plan[_Result]) -> _Result:
            async with places:
                return await self._driver.run(plan)

        tasks = [asyncio.ensure_future(run(plan)) for plan in plans]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_all(
        self, plan: Callable[[Endpoint, Context], Plan[_Result]], timeout: Timeout
    ) -> list[_Result]:
        """Ask every server."""
        context = self._context(timeout, None, None)
        await self._prepare(context.deadline)
        endpoints = self._core.balancer.endpoints
        return await self._side_by_side([plan(endpoint, context) for endpoint in endpoints])

    def _many(
        self,
        call: Callable[[User, Profile | None], Call[_Result]],
        users: AsyncIterator[tuple[User, Profile | None]],
        options: ManyOptions,
    ) -> AsyncIterator[Answer[User, _Result]]:
        async def ask(user: User, profile: Profile | None) -> _Result:
            context = self._context(options.timeout, None, options.metadata)
            return await self._infer(call(user, profile), context)

        return answers(ask, users, options)
