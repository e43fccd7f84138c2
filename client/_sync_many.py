"""Many users through a blocking client: bounded, in order or as completed."""

from __future__ import annotations

import contextvars
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from typing import cast

from client._core import Plan
from client._many import END, Many, check_pair
from client._sync_driver import Scope
from client.errors import RecommenderError
from client.items import Profile
from client.results import Answer, Result, User


def answers(
    run: Callable[[Plan[Result], Scope], Result], many: Many[User, Result]
) -> Iterator[Answer[User, Result]]:
    """Yield what ``run`` makes of each user's plan.

    Closing the iterator, or an error that ends it, cancels what is under way.
    """

    def answer(position: int, pair: tuple[User, Profile | None]) -> Answer[User, Result]:
        user = pair[0]
        try:
            return Answer(position, user, run(many.plan(*pair), scope))
        except RecommenderError as error:
            if many.fail:
                raise
            return Answer(position, user, None, error)

    scope = Scope()
    pool = ThreadPoolExecutor(many.concurrency, thread_name_prefix="client-many")
    done: queue.SimpleQueue[Future[Answer[User, Result]]] = queue.SimpleQueue()
    source = enumerate(_pairs(many))
    ahead: dict[Future[Answer[User, Result]], None] = {}
    yielded = 0
    try:
        while True:
            while len(ahead) < many.ahead and (taken := next(source, None)) is not None:
                future = pool.submit(contextvars.copy_context().run, partial(answer, *taken))
                ahead[future] = None
                if not many.ordered:
                    future.add_done_callback(done.put)
            if not ahead:
                return
            future = next(iter(ahead)) if many.ordered else done.get()
            result = future.result()
            del ahead[future]
            yielded += 1
            if many.progress is not None:
                many.progress(yielded)
            yield result
    finally:
        scope.cancel()
        pool.shutdown(cancel_futures=True)


def _pairs(many: Many[User, Result]) -> Iterator[tuple[User, Profile | None]]:
    """Yield each user with the profile at the same position; with None if there are none."""
    users = cast("Iterable[User]", many.users)
    if not many.has_profiles:
        yield from ((user, None) for user in users)
        return
    profiles = cast("Iterable[Profile | None]", many.profiles)
    for position, (user, profile) in enumerate(zip_longest(users, profiles, fillvalue=END)):
        check_pair(user, profile, position)
        yield user, profile
