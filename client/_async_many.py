"""Many users through an asyncio client: bounded, in order or as completed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from itertools import count
from typing import TypeVar

from client._core import Plan
from client._many import END, Many, Source, check_pair
from client.errors import RecommenderError
from client.items import Profile
from client.results import Answer, Result, User

_Entry = TypeVar("_Entry")


async def answers(
    run: Callable[[Plan[Result]], Awaitable[Result]], many: Many[User, Result]
) -> AsyncIterator[Answer[User, Result]]:
    """Yield what ``run`` makes of each user's plan.

    Closing the iterator, or an error that ends it, cancels what is under way.
    """

    async def answer(position: int, user: User, profile: Profile | None) -> Answer[User, Result]:
        async with places:
            try:
                return Answer(position, user, await run(many.plan(user, profile)))
            except RecommenderError as error:
                if many.fail:
                    raise
                return Answer(position, user, None, error)

    places = asyncio.Semaphore(many.concurrency)
    source = _pairs(many)
    positions = count()
    ahead: dict[asyncio.Task[Answer[User, Result]], None] = {}
    yielded = 0
    try:
        while True:
            while len(ahead) < many.ahead and (pair := await anext(source, None)) is not None:
                ahead[asyncio.ensure_future(answer(next(positions), *pair))] = None
            if not ahead:
                return
            done, _ = await asyncio.wait(
                [next(iter(ahead))] if many.ordered else ahead, return_when=asyncio.FIRST_COMPLETED
            )
            task = next(each for each in ahead if each in done)
            del ahead[task]
            result = task.result()
            yielded += 1
            if many.progress is not None:
                many.progress(yielded)
            yield result
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


async def _pairs(many: Many[User, Result]) -> AsyncIterator[tuple[User, Profile | None]]:
    """Yield each user with the profile at the same position; with None if there are none."""
    users = _iterate(many.users)
    if not many.has_profiles:
        async for user in users:
            yield user, None
        return
    profiles = _iterate(many.profiles)
    for position in count():
        user, profile = await anext(users, END), await anext(profiles, END)
        if user is END and profile is END:
            return
        check_pair(user, profile, position)
        yield user, profile


async def _iterate(entries: Source[_Entry]) -> AsyncIterator[_Entry]:
    if isinstance(entries, AsyncIterable):
        async for entry in entries:
            yield entry
    else:
        for entry in entries:
            yield entry
