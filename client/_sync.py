"""The blocking client."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from types import TracebackType
from typing import TypeVar

from client import _inputs
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
from client._sync_driver import Driver, Scope
from client._sync_many import answers, paired
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


class RecommenderClient:
    """Asks one Triton server, or several alike, that hold an exported recommender.

    Connections are opened by the first call that needs them. Calls from several threads share the
    client; close it when it is no longer needed, or use it in a ``with`` statement::

        with RecommenderClient("localhost:8001") as client:
            for item in client.recommend(["50", "172"], top_k=3):
                print(item.id, item.interest)

    A client that was never used may be inherited by a forked process; one with connections is
    refused there with :class:`ClientMisused`.

    Parameters
    ----------
    targets
        ``host:port`` of Triton's gRPC endpoint, or several. ``dns:///name:port`` stands for every
        address behind the name, looked up again from time to time.
    timeout
        Seconds that a call may take when it is not told otherwise, with all its retries and
        parts; None for no deadline.
    retry, hedge, balancing, connection, tls
        See :mod:`client.policies`. Hedging is off by default.
    token
        Sent as ``authorization: Bearer …``; or a function that returns it, asked before each call.
    metadata
        Sent with every call, beside what a call adds itself.
    max_parallel
        Most requests that one call is split into at a time.
    on_response
        Called with a :class:`ResponseInfo` after each request.
    observers
        What else watches, such as ``client.otel.OpenTelemetry()``.

    Raises
    ------
    InvalidInput
        From every method: an argument makes no sense, found here or by the server; ``field``
        names it.
    RecommenderError
        From every method: see :mod:`client.errors` for the tree.
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
        self._pool: ThreadPoolExecutor | None = None
        self._look_up: threading.Thread | None = None
        self._lock = threading.Lock()
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
        self._connections = Connections(
            self._settings.factory,
            self._settings.factory.open,
            lambda channel: channel.close(),
            self._core.clock,
        )
        self._driver = Driver(self._connections, self._closed)

    def rank(
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
        """Score each candidate for the user with this history.

        Parameters
        ----------
        history
            Oldest first; empty for a new user. An item that the catalogue does not know is read
            by its text, and left out (see ``Ranking.skipped``) if it has none.
        candidates
            What to score, as many as wanted. With more texts than one request may hold, the call
            is split into several that run side by side. None at all are answered without asking a
            server, and ``Ranking.skipped`` is 0 then.
        on_unknown
            What to do with a candidate that is neither in the catalogue nor has a text: refuse
            the request, or ``"skip"`` it, which scores it NaN.
        profile
            What is known of the user beside the history, such as ``{"age": 24}``, by columns of
            the training's user file. Those that the model does not know are refused; a value that
            it does not know, or a column left out, counts as not known.
        timeout
            Seconds; None for no deadline.
        request_id
            For the server's log; made up if None.
        metadata
            Sent along with this call.
        """
        call = rank_call(history, candidates, on_unknown, profile, self._settings.stable)
        return self._infer(call, self._context(timeout, request_id, metadata))

    def recommend(
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
        """Find the items of the catalogue that interest the user with this history most.

        Parameters
        ----------
        history
            As for :meth:`rank`.
        top_k
            How many items; fewer come back only where no more exist.
        exclude
            Items that must not come back; those that the catalogue does not know are ignored.
        include_seen
            Whether items of the history may come back.
        profile, timeout, request_id, metadata
            As for :meth:`rank`.
        """
        call = recommend_call(
            history, top_k, exclude, profile, self._settings.stable, include_seen=include_seen
        )
        return self._infer(call, self._context(timeout, request_id, metadata))

    def encode(
        self,
        texts: Iterable[str],
        *,
        timeout: Timeout = NOT_GIVEN,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Encoding:
        """Turn texts, at least one, into the vectors that the recommender compares items by."""
        return self._infer(encode_call(texts), self._context(timeout, request_id, metadata))

    def classify(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        timeout: Timeout = NOT_GIVEN,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Classification:
        """Label texts, or pairs of a text and the one of ``pairs`` at the same position.

        For a server that holds an exported classifier.
        """
        call = classify_call(texts, pairs, self._settings.stable)
        context = self._context(timeout, request_id, metadata)
        scores = self._infer(call, context)
        return name_labels(scores, self._labels(scores.version, context))

    def rank_many(
        self,
        users: Iterable[tuple[History, Candidates]],
        *,
        profiles: Iterable[Profile | None] = (),
        on_unknown: OnUnknown = "error",
        concurrency: int = 16,
        ordered: bool = True,
        on_error: OnError = "raise",
        progress: Callable[[int], object] | None = None,
        timeout: Timeout = NOT_GIVEN,
        metadata: Mapping[str, str] | None = None,
    ) -> Iterator[Answer[tuple[History, Candidates], Ranking]]:
        """Rank for a stream of users, each a history and candidates.

        Parameters
        ----------
        users
            Read as the answers are consumed, at most ``2 * concurrency`` ahead.
        profiles
            One for each user, in their order, see :meth:`rank`; or none at all.
        concurrency
            Most calls at a time.
        ordered
            Whether the answers come in the order of the users, or as they are completed.
        on_error
            End with the first error, or ``"return"`` it in its :class:`Answer` and go on.
        progress
            Called before each answer with the number of answers so far.
        timeout
            Seconds of each user's call.
        """
        return self._many(
            lambda user, profile: rank_call(*user, on_unknown, profile, self._settings.stable),
            paired(users, profiles),
            read_many_options(concurrency, ordered, on_error, progress, timeout, metadata),
        )

    def recommend_many(
        self,
        histories: Iterable[History],
        *,
        profiles: Iterable[Profile | None] = (),
        top_k: int = 10,
        include_seen: bool = False,
        concurrency: int = 16,
        ordered: bool = True,
        on_error: OnError = "raise",
        progress: Callable[[int], object] | None = None,
        timeout: Timeout = NOT_GIVEN,
        metadata: Mapping[str, str] | None = None,
    ) -> Iterator[Answer[History, Recommendations]]:
        """Recommend to a stream of users, each a history; as :meth:`rank_many` otherwise."""
        return self._many(
            lambda user, profile: recommend_call(
                user, top_k, (), profile, self._settings.stable, include_seen=include_seen
            ),
            paired(histories, profiles),
            read_many_options(concurrency, ordered, on_error, progress, timeout, metadata),
        )

    def ready(
        self, *, models: Iterable[str] = RECOMMENDER_MODELS, timeout: Timeout = NOT_GIVEN
    ) -> bool:
        """Say whether any server answers all of ``models``.

        A server that cannot be reached, or does not say so in time, is not ready.
        """
        names = _inputs.read_models(models)
        return any_says_yes(self._ask_all(partial(ready_plan, self._core, names), timeout))

    def live(self, *, timeout: Timeout = NOT_GIVEN) -> bool:
        """Say whether any server runs at all, whatever models it holds."""
        return any_says_yes(self._ask_all(partial(live_plan, self._core), timeout))

    def metadata(
        self, *, models: Iterable[str] = (), timeout: Timeout = NOT_GIVEN
    ) -> ServerMetadata:
        """Return what a server is, its version, and the tensors of the models asked for."""
        names = _inputs.read_models(models)
        context = self._context(timeout, None, None)
        return self._run(metadata_plan(self._core, names, context), context)

    def statistics(
        self, *, model: str | None = None, timeout: Timeout = NOT_GIVEN
    ) -> list[ModelStatistics]:
        """Return what the servers counted for one model or all: requests, queue, computation."""
        return all_that_came(self._ask_all(partial(statistics_plan, self._core, model), timeout))

    def close(self) -> None:
        """Close the connections; calls under way fail. Closing again does nothing."""
        self._is_closed = True
        channels = self._connections.drain()
        if self._settings.in_other_process():
            return  # they are the parent's
        for channel in channels:
            channel.close()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def __enter__(self) -> RecommenderClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True) and getattr(self, "_connections", None):
            warnings.warn(
                f"{self!r} was never closed; use it in a with statement, or call close()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        return self._settings.describe("RecommenderClient")

    def _context(
        self,
        timeout: Timeout,
        request_id: str | None,
        metadata: Mapping[str, str] | None,
    ) -> Context:
        return self._settings.context(timeout, request_id, metadata)

    def _closed(self) -> RecommenderError | None:
        return self._settings.closed("RecommenderClient") if self._is_closed else None

    def _prepare(self, deadline: Deadline) -> None:
        """Refuse what cannot be used, and find the servers where they go by name."""
        if self._is_closed:
            raise self._settings.closed("RecommenderClient")
        if self._settings.in_other_process():
            if self._connections:
                raise ClientMisused(
                    f"{self!r} has connections of the process that this one was forked from; make "
                    "a new client here, or make the first call of this one after the fork"
                )
            self._settings.adopt_process()
        if self._settings.discovery.names:
            self._find_servers(deadline)

    def _find_servers(self, deadline: Deadline) -> None:
        """Look the names up when it is time to.

        In a thread: the system's resolver has no time limit of its own. Only a call that knows no
        server yet waits for the answer.
        """
        discovery = self._settings.discovery
        if discovery.due():
            self._look_up = threading.Thread(
                target=self._look_names_up, name="client-dns", daemon=True
            )
            self._look_up.start()
        if not discovery.has_servers:
            look_up = self._look_up
            if look_up is not None:
                look_up.join(deadline.left())
            if not discovery.has_servers:
                raise discovery.nobody(waited=look_up is not None and look_up.is_alive())

    def _look_names_up(self) -> None:
        discovery = self._settings.discovery
        for name in discovery.names:
            discovery.learn(name, name.look_up())
        discovery.done()
        self._connections.keep(self._core.balancer.endpoints)

    def _run(self, plan: Plan[_Result], context: Context, scope: Scope | None = None) -> _Result:
        try:
            self._prepare(context.deadline)
        except BaseException:
            plan.close()
            raise
        return self._driver.run(plan, scope)

    def _infer(self, call: Call[_Result], context: Context, scope: Scope | None = None) -> _Result:
        try:
            return self._infer_parts(call, context, scope)
        except InvalidInput as error:
            if call.large and error.code is not None:
                # Perhaps the repository was exported anew, with other limits.
                self._settings.limits.pop(call.model, None)
            raise

    def _infer_parts(self, call: Call[_Result], context: Context, scope: Scope | None) -> _Result:
        limits = self._limits(call, context, scope) if call.large else Limits()
        parts = call.split(limits)
        if len(parts) == 1:
            return self._run(perform(self._core, parts[0], context), context, scope)
        if not parts:
            self._prepare(context.deadline)
            return call.join(())
        return call.join(
            self._side_by_side(
                [
                    perform(self._core, part, context.part(number))
                    for number, part in enumerate(parts, 1)
                ],
                context,
                scope,
            )
        )

    def _limits(self, call: Call[_Result], context: Context, scope: Scope | None) -> Limits:
        known = self._settings.limits
        if call.model not in known:
            call.split(Limits())  # what is wrong with the arguments is said before anything is sent
            asking = context.part(0)
            known[call.model] = self._run(
                limits_plan(self._core, call.model, asking), asking, scope
            )
        return known[call.model]

    def _labels(self, version: str, context: Context) -> Labels:
        known = self._settings.labels
        if version not in known:
            asking = context.part(0)
            known[version] = self._run(labels_plan(self._core, version, asking), asking)
        return known[version]

    def _side_by_side(
        self, plans: Sequence[Plan[_Result]], context: Context, scope: Scope | None
    ) -> list[_Result]:
        """Run ``plans``, bounded; the first error gives the others up."""
        self._prepare(context.deadline)
        inner = Scope()
        if scope is not None:
            scope.add(inner)
        pool = self._thread_pool()
        futures = [pool.submit(self._driver.run, plan, inner) for plan in plans]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [each for each in futures if each.done() and each.exception() is not None]
            return [each.result() for each in failed[:1] or futures]
        finally:
            for each in futures:
                each.cancel()
            inner.cancel()
            if scope is not None:
                scope.discard(inner)

    def _ask_all(
        self, plan: Callable[[Endpoint, Context], Plan[_Result]], timeout: Timeout
    ) -> list[_Result]:
        """Ask every server."""
        context = self._context(timeout, None, None)
        self._prepare(context.deadline)
        plans = [plan(endpoint, context) for endpoint in self._core.balancer.endpoints]
        if len(plans) == 1:
            return [self._driver.run(plans[0])]
        return self._side_by_side(plans, context, None)

    def _many(
        self,
        call: Callable[[User, Profile | None], Call[_Result]],
        users: Iterable[tuple[User, Profile | None]],
        options: ManyOptions,
    ) -> Iterator[Answer[User, _Result]]:
        def ask(user: User, profile: Profile | None, scope: Scope) -> _Result:
            context = self._context(options.timeout, None, options.metadata)
            return self._infer(call(user, profile), context, scope)

        return answers(ask, users, options)

    def _thread_pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._is_closed:
                raise self._settings.closed("RecommenderClient")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self._settings.max_parallel, thread_name_prefix="client-parts"
                )
            return self._pool
