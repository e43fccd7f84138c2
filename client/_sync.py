"""The blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

import grpc

from client import _methods
from client._client import Client
from client._core import Plan
from client._gevent import warn_of_gevent
from client._many import Many
from client._methods import published
from client._service import Service
from client._sync_driver import Scope, SyncDriver
from client._sync_many import answers
from client.results import Answer, Result, User

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def _blocking(
    plan: Callable[Concatenate[Service, _Parameters], Plan[_Result]],
) -> Callable[Concatenate[RecommenderClient, _Parameters], _Result]:
    def call(
        client: RecommenderClient, /, *args: _Parameters.args, **options: _Parameters.kwargs
    ) -> _Result:
        return client._run(plan(client._service, *args, **options))  # noqa: SLF001 - its method

    return published(call, plan)


def _streaming(
    many: Callable[Concatenate[Service, _Parameters], Many[User, Result]],
) -> Callable[Concatenate[RecommenderClient, _Parameters], Iterator[Answer[User, Result]]]:
    def call(
        client: RecommenderClient, /, *args: _Parameters.args, **options: _Parameters.kwargs
    ) -> Iterator[Answer[User, Result]]:
        return answers(client._run, many(client._service, *args, **options))  # noqa: SLF001

    return published(call, many, "Iterator[Answer[{}]]")


class RecommenderClient(Client):
    """Asks one Triton server, or several alike, that hold an exported recommender.

    Connections are opened by the first call that needs them. Calls from several threads share the
    client; close it when it is no longer needed, or use it in a ``with`` statement::

        with RecommenderClient("localhost:8001") as client:
            for item in client.recommend(["50", "172"], top_k=3):
                print(item.id, item.interest)

    A client that was never used may be inherited by a forked process; one with connections is
    refused there with :class:`ClientMisused`.
    """

    rank = _blocking(_methods.rank)
    recommend = _blocking(_methods.recommend)
    related = _blocking(_methods.related)
    observe = _blocking(_methods.observe)
    encode = _blocking(_methods.encode)
    classify = _blocking(_methods.classify)
    rank_many = _streaming(_methods.rank_many)
    recommend_many = _streaming(_methods.recommend_many)
    related_many = _streaming(_methods.related_many)
    ready = _blocking(_methods.ready)
    live = _blocking(_methods.live)
    metadata = _blocking(_methods.metadata)
    statistics = _blocking(_methods.statistics)

    def close(self) -> None:
        """Close the connections; calls under way fail. Closing again does nothing."""
        channels = self._drain()
        if channels is not None:
            for channel in channels:
                channel.close()

    def __enter__(self) -> RecommenderClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    _library: ClassVar[Any] = grpc
    _to_close: ClassVar[str] = "use it in a with statement, or call close()"

    def _start(self) -> None:
        warn_of_gevent(3)  # who makes the client
        self._driver = SyncDriver(self._connections, self._closed, self._max_parallel)

    def _close_channel(self, channel: grpc.Channel) -> None:
        channel.close()

    def _run(self, plan: Plan[_Result], scope: Scope | None = None) -> _Result:
        self._check()
        return self._driver.run(plan, scope)
