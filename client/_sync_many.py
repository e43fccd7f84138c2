"""Many users through a blocking client: bounded, in order or as completed."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from client._many import ManyOptions
from client._sync_driver import Scope
from client.errors import RecommenderError
from client.results import Answer, Result, User


def answers(
    ask: Callable[[User, Scope], Result], users: Iterable[User], options: ManyOptions
) -> Iterator[Answer[User, Result]]:
    """Yield what ``ask`` gives for each of ``users``.

    Closing the iterator, or an error that ends it, cancels what is under way.
    """

    def answer(position: int, user: User) -> Answer[User, Result]:
        try:
            return Answer(position, user, ask(user, scope))
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
