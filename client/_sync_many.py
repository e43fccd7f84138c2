"""Many users through a blocking client: bounded, in order or as completed."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from client._many import (
    NO_PROFILE,
    ManyOptions,
    are_no_profiles,
    check_no_profile_left,
    check_profile,
)
from client._sync_driver import Scope
from client.errors import RecommenderError
from client.items import Profile
from client.results import Answer, Result, User


def paired(
    users: Iterable[User], profiles: Iterable[Profile | None]
) -> Iterator[tuple[User, Profile | None]]:
    """Yield each user with the profile at the same position; with None if there are none."""
    if are_no_profiles(profiles):
        yield from ((user, None) for user in users)
        return
    given, position = iter(profiles), 0
    for position, user in enumerate(users, 1):
        profile: Any = next(given, NO_PROFILE)
        check_profile(profile, position - 1)
        yield user, profile
    check_no_profile_left(next(given, NO_PROFILE), position)


def answers(
    ask: Callable[[User, Profile | None, Scope], Result],
    users: Iterable[tuple[User, Profile | None]],
    options: ManyOptions,
) -> Iterator[Answer[User, Result]]:
    """Yield what ``ask`` gives for each of ``users``, who come with their profiles.

    Closing the iterator, or an error that ends it, cancels what is under way.
    """

    def answer(position: int, pair: tuple[User, Profile | None]) -> Answer[User, Result]:
        user, profile = pair
        try:
            return Answer(position, user, ask(user, profile, scope))
        except RecommenderError as error:
            if options.fail:
                raise
            return Answer(position, user, None, error)

    scope = Scope()
    pool = ThreadPoolExecutor(options.concurrency, thread_name_prefix="client-many")
    done: queue.SimpleQueue[Future[Answer[User, Result]]] = queue.SimpleQueue()
    source = enumerate(users)
    ahead: dict[Future[Answer[User, Result]], None] = {}
    yielded = 0
    try:
        while True:
            while len(ahead) < options.ahead and (taken := next(source, None)) is not None:
                future = pool.submit(partial(answer, *taken))
                ahead[future] = None
                if not options.ordered:
                    future.add_done_callback(done.put)
            if not ahead:
                return
            future = next(iter(ahead)) if options.ordered else done.get()
            result = future.result()
            del ahead[future]
            yielded += 1
            if options.progress is not None:
                options.progress(yielded)
            yield result
    finally:
        scope.cancel()
        pool.shutdown(cancel_futures=True)
