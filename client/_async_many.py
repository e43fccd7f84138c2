"""Many users through an asyncio client: bounded, in order or as completed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

from client._many import (
    NO_PROFILE,
    ManyOptions,
    are_no_profiles,
    check_no_profile_left,
    check_profile,
)
from client.errors import RecommenderError
from client.items import Profile
from client.results import Answer, Result, User

_Entry = TypeVar("_Entry")


async def paired(
    users: Iterable[User] | AsyncIterable[User],
    profiles: Iterable[Profile | None] | AsyncIterable[Profile | None],
) -> AsyncIterator[tuple[User, Profile | None]]:
    """Yield each user with the profile at the same position; with None if there are none."""
    if are_no_profiles(profiles):
        async for user in _iterate(users):
            yield user, None
        return
    given, position = _iterate(profiles), 0
    async for user in _iterate(users):
        profile: Any = await anext(given, NO_PROFILE)
        check_profile(profile, position)
        position += 1
        yield user, profile
    check_no_profile_left(await anext(given, NO_PROFILE), position)


async def answers(
    ask: Callable[[User, Profile | None], Awaitable[Result]],
    source: AsyncIterator[tuple[User, Profile | None]],
    options: ManyOptions,
) -> AsyncIterator[Answer[User, Result]]:
    """Yield what ``ask`` gives for each of the users, who come with their profiles.

    Closing the iterator, or an error that ends it, cancels what is under way.
    """
    running = _Running(ask, options)
    yielded = 0
    try:
        more = True
        while True:
            while more and len(running.tasks) < options.ahead:
                more = await running.take_from(source)
            if not running.tasks:
                return
            answer = await running.next()
            yielded += 1
            if options.progress is not None:
                options.progress(yielded)
            yield answer
    finally:
        await running.cancel()


class _Running(Generic[User, Result]):
    """The users taken in whose answers were not handed out yet."""

    def __init__(
        self, ask: Callable[[User, Profile | None], Awaitable[Result]], options: ManyOptions
    ) -> None:
        self.tasks: dict[asyncio.Task[Answer[User, Result]], None] = {}
        self._ask = ask
        self._options = options
        self._places = asyncio.Semaphore(options.concurrency)
        self._taken = 0

    async def take_from(self, source: AsyncIterator[tuple[User, Profile | None]]) -> bool:
        try:
            user, profile = await anext(source)
        except StopAsyncIteration:
            return False
        self.tasks[asyncio.ensure_future(self._answer(self._taken, user, profile))] = None
        self._taken += 1
        return True

    async def next(self) -> Answer[User, Result]:
        if self._options.ordered:
            task = next(iter(self.tasks))
            await asyncio.wait([task])
        else:
            done, _ = await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
            task = next(each for each in self.tasks if each in done)
        del self.tasks[task]
        return task.result()

    async def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _answer(
        self, position: int, user: User, profile: Profile | None
    ) -> Answer[User, Result]:
        async with self._places:
            try:
                return Answer(position, user, await self._ask(user, profile))
            except RecommenderError as error:
                if self._options.fail:
                    raise
                return Answer(position, user, None, error)


async def _iterate(entries: Iterable[_Entry] | AsyncIterable[_Entry]) -> AsyncIterator[_Entry]:
    if isinstance(entries, AsyncIterable):
        async for entry in entries:
            yield entry
    else:
        for entry in entries:
            yield entry
