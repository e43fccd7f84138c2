"""The methods of both clients, each written once, as the plan of its call. No I/O.

The names, keywords and docstrings here are the public ones: :func:`published` gives them to the
methods that carry the plans out, blocking or awaited.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from client import _inputs
from client._balancing import Endpoint
from client._calls import (
    Part,
    classify_call,
    encode_call,
    join_observed,
    observe_parts,
    rank_call,
    recommend_call,
)
from client._core import Context, Plan, perform, together
from client._deadlines import NOT_GIVEN, Timeout
from client._many import Many, OnError, Source, read_many
from client._service import Service
from client._status import (
    RECOMMENDER_MODELS,
    Health,
    all_that_came,
    any_says_yes,
    health_plan,
    live_plan,
    metadata_plan,
    ready_plan,
    statistics_plan,
)
from client.errors import DeadlineExceeded, RecommenderError, Unavailable
from client.items import Event, Item, Profile
from client.results import (
    Classification,
    Encoding,
    ModelStatistics,
    Observed,
    Ranking,
    Recommendations,
    ServerMetadata,
)
from model_repository.core.contract import (
    OptionSpec,
    RankOptions,
    RecommendOptions,
    RelatedOptions,
    options_of,
)

if TYPE_CHECKING:
    from typing import Unpack  # of Python 3.11; type checkers know it

_OF_RANK: Final = options_of(RankOptions)
_OF_RECOMMEND: Final = options_of(RecommendOptions)
_OF_RELATED: Final = options_of(RelatedOptions)
_DECLARED: Final[Mapping[str, tuple[OptionSpec, ...]]] = {
    "Unpack[RankOptions]": _OF_RANK,
    "Unpack[RecommendOptions]": _OF_RECOMMEND,
    "Unpack[RelatedOptions]": _OF_RELATED,
}
_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")

History = Iterable[str | Item | Event]
Candidates = Iterable[str | Item]


def published(
    method: Callable[_Parameters, _Returned], plan: Callable[..., object], returns: str = "{}"
) -> Callable[_Parameters, _Returned]:
    """Give ``method`` the name, the docstring and the signature that ``plan`` declares.

    Its ``options`` become keywords, and what they mean follows the docstring. ``returns`` says what
    is returned where the plan gives ``{}``.
    """
    functools.update_wrapper(method, plan)
    declared = inspect.signature(plan)
    of_client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    _, *arguments = declared.parameters.values()
    if arguments[-1].kind is inspect.Parameter.VAR_KEYWORD:
        options = _DECLARED[arguments.pop().annotation]
        arguments += [_keyword(option) for option in options]
        if method.__doc__ is not None:  # as it is with python -OO
            method.__doc__ = method.__doc__.rstrip() + "".join(
                f"\n    {option.name}\n        {option.meaning}." for option in options
            )
    result = declared.return_annotation.partition("[")[2][:-1]  # of Plan[...] or Many[...]
    cast("Any", method).__signature__ = inspect.Signature(
        [of_client, *arguments], return_annotation=returns.format(result)
    )
    return method


def _keyword(option: OptionSpec) -> inspect.Parameter:
    kind = type(option.default).__name__
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=kind
    )


def rank(
    service: Service,
    history: History,
    candidates: Candidates,
    *,
    profile: Profile | None = None,
    timeout: Timeout = NOT_GIVEN,
    request_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    **options: Unpack[RankOptions],
) -> Plan[Ranking]:
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
    chosen = _inputs.read_options(_OF_RANK, options)
    call = rank_call(history, candidates, profile, chosen, service.stable)
    return service.infer(call, service.context(timeout, request_id, metadata))


def recommend(
    service: Service,
    history: History,
    *,
    exclude: Candidates = (),
    profile: Profile | None = None,
    timeout: Timeout = NOT_GIVEN,
    request_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    **options: Unpack[RecommendOptions],
) -> Plan[Recommendations]:
    """Find the items of the catalogue that interest the user with this history most.

    Parameters
    ----------
    history
        As for :meth:`rank`.
    exclude
        Items that must not come back; those that the catalogue does not know are ignored.
    profile, timeout, metadata
        As for :meth:`rank`.
    request_id
        As for :meth:`rank`. With ``explore`` it decides, beside the cursor, what chance does.
    """
    chosen = _inputs.read_options(_OF_RECOMMEND, options)
    call = recommend_call(history, exclude, profile, chosen, service.stable)
    return service.infer(call, service.context(timeout, request_id, metadata))


def related(
    service: Service,
    item: str | Item,
    *,
    history: History = (),
    exclude: Candidates = (),
    profile: Profile | None = None,
    timeout: Timeout = NOT_GIVEN,
    request_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    **options: Unpack[RelatedOptions],
) -> Plan[Recommendations]:
    """Find the items of the catalogue that are like this one, those of most interest first.

    This is :meth:`recommend` with the option ``like``.

    Parameters
    ----------
    item
        One that the catalogue does not know is read by its text; without one it is refused.
    history
        As for :meth:`rank`: of two items that are as much like it, the user gets the better one.
    exclude
        As for :meth:`recommend`.
    profile, timeout, request_id, metadata
        As for :meth:`rank`.
    """
    chosen = _inputs.read_options(_OF_RELATED, options) | _inputs.read_anchor(item)
    call = recommend_call(history, exclude, profile, chosen, service.stable)
    return service.infer(call, service.context(timeout, request_id, metadata))


def observe(
    service: Service,
    events: History,
    *,
    timeout: Timeout = NOT_GIVEN,
    request_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Plan[Observed]:
    """Tell every server of events as they happen: what is popular changes at once.

    Where a server fails, the others are told all the same. To tell of the events again is
    harmless where they have ids of their own, see :class:`Event`.

    Parameters
    ----------
    events
        As many as wanted, in any order.
    timeout, request_id, metadata
        As for :meth:`rank`.

    Raises
    ------
    ModelNotFound
        The model does not ask what is popular.
    """
    parts = observe_parts(events, service.stable)
    context = service.context(timeout, request_id, metadata)
    yield from service.discovery.ensure(context.deadline)
    told = yield from together(
        [
            _tell(service, parts, context, server)
            for server in enumerate(service.core.balancer.endpoints, 1)
        ]
    )
    for each in told:
        if isinstance(each, RecommenderError):
            raise each
    return min((each for each in told if isinstance(each, Observed)), key=lambda it: it.accepted)


def _tell(
    service: Service,
    parts: Sequence[Part[Observed]],
    context: Context,
    server: tuple[int, Endpoint],
) -> Plan[Observed | RecommenderError]:
    place, endpoint = server
    found = []
    try:
        for number, part in enumerate(parts, 1):
            named = context.part(place, endpoint).part(number, endpoint)
            found.append((yield from perform(service.core, part, named)))
    except RecommenderError as error:
        return error
    return join_observed(found)


def encode(
    service: Service,
    texts: Iterable[str],
    *,
    timeout: Timeout = NOT_GIVEN,
    request_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Plan[Encoding]:
    """Turn texts, at least one, into the vectors that the recommender compares items by."""
    return service.infer(encode_call(texts), service.context(timeout, request_id, metadata))


def classify(
    service: Service,
    texts: Iterable[str],
    pairs: Iterable[str] | None = None,
    *,
    timeout: Timeout = NOT_GIVEN,
    request_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Plan[Classification]:
    """Label texts, or pairs of a text and the one of ``pairs`` at the same position.

    For a server that holds an exported classifier.
    """
    call = classify_call(texts, pairs, service.stable)
    return service.classify(call, service.context(timeout, request_id, metadata))


def rank_many(
    service: Service,
    users: Source[tuple[History, Candidates]],
    *,
    profiles: Source[Profile | None] = (),
    concurrency: int = 16,
    ordered: bool = True,
    on_error: OnError = "raise",
    progress: Callable[[int], object] | None = None,
    timeout: Timeout = NOT_GIVEN,
    metadata: Mapping[str, str] | None = None,
    **options: Unpack[RankOptions],
) -> Many[tuple[History, Candidates], Ranking]:
    """Rank for a stream of users, each a history and candidates.

    Parameters
    ----------
    users
        Read as the answers are consumed, at most ``2 * concurrency`` ahead. An iterable; with
        ``AsyncRecommenderClient`` it may be an asynchronous one.
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
    metadata
        Sent along with each call.
    """

    def plan(user: tuple[History, Candidates], profile: Profile | None) -> Plan[Ranking]:
        return rank(
            service,
            *user,
            profile=profile,
            timeout=timeout,
            metadata=metadata,
            **options,
        )

    return read_many(
        plan, users, profiles, concurrency, ordered, on_error, progress, timeout, metadata
    )


def recommend_many(
    service: Service,
    histories: Source[History],
    *,
    profiles: Source[Profile | None] = (),
    concurrency: int = 16,
    ordered: bool = True,
    on_error: OnError = "raise",
    progress: Callable[[int], object] | None = None,
    timeout: Timeout = NOT_GIVEN,
    metadata: Mapping[str, str] | None = None,
    **options: Unpack[RecommendOptions],
) -> Many[History, Recommendations]:
    """Recommend to a stream of users, each a history; as :meth:`rank_many` otherwise.

    Parameters
    ----------
    histories
        Of one user each, see :meth:`rank`.
    """

    def plan(history: History, profile: Profile | None) -> Plan[Recommendations]:
        return recommend(
            service,
            history,
            profile=profile,
            timeout=timeout,
            metadata=metadata,
            **options,
        )

    return read_many(
        plan, histories, profiles, concurrency, ordered, on_error, progress, timeout, metadata
    )


def related_many(
    service: Service,
    items: Source[str | Item],
    *,
    concurrency: int = 16,
    ordered: bool = True,
    on_error: OnError = "raise",
    progress: Callable[[int], object] | None = None,
    timeout: Timeout = NOT_GIVEN,
    metadata: Mapping[str, str] | None = None,
    **options: Unpack[RelatedOptions],
) -> Many[str | Item, Recommendations]:
    """Find related items for a stream of items, for a user of whom nothing is known.

    Parameters
    ----------
    items
        See :meth:`related`; read as the users of :meth:`rank_many` are.
    concurrency, ordered, on_error, progress, timeout, metadata
        As for :meth:`rank_many`.
    """

    def plan(item: str | Item, _: Profile | None) -> Plan[Recommendations]:
        return related(service, item, timeout=timeout, metadata=metadata, **options)

    return read_many(plan, items, (), concurrency, ordered, on_error, progress, timeout, metadata)


def ready(
    service: Service, *, models: Iterable[str] = RECOMMENDER_MODELS, timeout: Timeout = NOT_GIVEN
) -> Plan[bool]:
    """Say whether any server answers all of ``models``.

    Each of ``rank``, ``recommend``, ``encode`` and ``classify`` is sent a smallest request, since
    Triton says that a model is ready whose process is dead. Of others Triton's word is taken.

    A server that cannot be reached, or does not say so in time, is not ready.
    """
    plan = partial(ready_plan, service.core, _inputs.read_models(models))
    return (yield from _any_says_yes(service, plan, timeout))


def live(service: Service, *, timeout: Timeout = NOT_GIVEN) -> Plan[bool]:
    """Say whether any server runs at all, whatever models it holds."""
    return (yield from _any_says_yes(service, partial(live_plan, service.core), timeout))


def _any_says_yes(
    service: Service,
    plan: Callable[[Endpoint, Context], Plan[bool | RecommenderError]],
    timeout: Timeout,
) -> Plan[bool]:
    try:
        answers = yield from service.ask_all(plan, service.context(timeout))
    except (Unavailable, DeadlineExceeded):  # no name of them can be looked up
        return False
    return any_says_yes(answers)


def health(service: Service, *, timeout: Timeout = NOT_GIVEN) -> Plan[list[Health]]:
    """Say of each server whether it is live and ready, and why not."""
    plan = partial(health_plan, service.core, RECOMMENDER_MODELS)
    try:
        return (yield from service.ask_all(plan, service.context(timeout)))
    except (Unavailable, DeadlineExceeded) as error:  # no name of them can be looked up
        return [Health(str(name), reason=str(error)) for name in service.discovery.names]


def metadata(
    service: Service, *, models: Iterable[str] = (), timeout: Timeout = NOT_GIVEN
) -> Plan[ServerMetadata]:
    """Return what a server is, its version, and the tensors of the models asked for."""
    names = _inputs.read_models(models)
    context = service.context(timeout)
    yield from service.discovery.ensure(context.deadline)
    return (yield from metadata_plan(service.core, names, context))


def statistics(
    service: Service, *, model: str | None = None, timeout: Timeout = NOT_GIVEN
) -> Plan[list[ModelStatistics]]:
    """Return what the servers counted for one model or all: requests, queue, computation."""
    if model is not None:
        _inputs.read_models([model], "model")
    plan = partial(statistics_plan, service.core, model)
    return all_that_came((yield from service.ask_all(plan, service.context(timeout))))
