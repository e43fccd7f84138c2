"""Questions about servers: whether they are ready, what they hold, what they counted."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from client._balancing import Endpoint
from client._configuration import trend_until_plan
from client._core import Context, Core, Job, Plan, ask_server, perform
from client._protocol import (
    infer_message,
    live_message,
    metadata_message,
    ready_message,
    statistics_message,
)
from client._tensors import strings
from client.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    RecommenderError,
    Unavailable,
)
from client.results import ModelMetadata, ModelStatistics, ServerMetadata, TensorMetadata, Times
from model_repository.core import contract

RECOMMENDER_MODELS: Final = tuple(
    model.name for model in (contract.RANK, contract.RECOMMEND, contract.ENCODE)
)

_ABSENT: Final = (Unavailable, DeadlineExceeded, ModelNotFound, InferenceFailed)

_NOBODY: Final = strings(contract.HISTORY, [], "")
_WORD: Final = "ready"
_SMALLEST: Final = {
    contract.RANK.name: infer_message(
        contract.RANK.name, [_NOBODY, strings(contract.CANDIDATE, [], "")], {}
    ),
    contract.RECOMMEND.name: infer_message(
        contract.RECOMMEND.name, [_NOBODY], {contract.TOP_K.name: 1}
    ),
    contract.OBSERVE.name: infer_message(
        contract.OBSERVE.name, [strings(contract.OBSERVED_ITEM, [], "")], {}
    ),
    **{
        model.name: infer_message(model.name, [strings(contract.TEXT, [_WORD], "")], {})
        for model in (contract.ENCODE, contract.CLASSIFY)
    },
}
"""For a new user without candidates, of no events, or of one text."""


@dataclass(frozen=True, slots=True)
class Health:
    """What one server is, and why it is not more; ``reason`` is empty where it is ready."""

    server: str
    live: bool = False
    ready: bool = False
    reason: str = ""


def health_plan(
    core: Core, models: Sequence[str], endpoint: Endpoint, context: Context
) -> Plan[Health]:
    """Ask one server whether it runs, and whether it answers all of ``models``."""
    server = endpoint.address
    live = yield from live_plan(core, endpoint, context)
    if live is not True:
        return Health(server, reason=str(live or "the server says that it is not live"))
    for model in models:
        ready = yield from ready_plan(core, [model], endpoint, context)
        if ready is not True:
            reason = str(ready or f"the model {model} is not ready")
            return Health(server, live=True, reason=reason)
    return Health(server, live=True, ready=True)


def ready_plan(
    core: Core, models: Sequence[str], endpoint: Endpoint, context: Context
) -> Plan[bool | RecommenderError]:
    """Ask one server whether it answers all of ``models``.

    Triton says that a Python model is ready whose process is dead, so each model of the contract is
    asked to answer the smallest request as well.
    """
    try:
        for model in models:
            job: Job[Any, bool] = Job(ready_message(model), lambda answer: bool(answer.ready))
            if not (yield from ask_server(core, job, endpoint, context)):
                return False
            if model in _SMALLEST:
                asked: Job[Any, bool] = Job(_SMALLEST[model], lambda _: True)
                with contextlib.suppress(InvalidInput, Overloaded):  # who refuses does answer
                    yield from ask_server(core, asked, endpoint, context)
    except RecommenderError as error:
        return error
    return True


def live_plan(core: Core, endpoint: Endpoint, context: Context) -> Plan[bool | RecommenderError]:
    """Ask one server whether it runs."""
    job: Job[Any, bool] = Job(live_message(), lambda answer: bool(answer.live))
    try:
        return (yield from ask_server(core, job, endpoint, context))
    except RecommenderError as error:
        return error


def any_says_yes(answers: Iterable[bool | RecommenderError]) -> bool:
    """Whether one does; a server that is not there says no, one that refuses is an error."""
    answers = list(answers)
    if any(answer is True for answer in answers):
        return True
    for answer in answers:
        if isinstance(answer, RecommenderError) and not isinstance(answer, _ABSENT):
            raise answer
    return False


def metadata_plan(core: Core, models: Sequence[str], context: Context) -> Plan[ServerMetadata]:
    """Ask a server what it is, and what each of ``models`` is."""
    server = yield from perform(core, Job(metadata_message(None), lambda answer: answer), context)
    described = {}
    for number, model in enumerate(models):
        job: Job[Any, ModelMetadata] = Job(metadata_message(model), _read_model_metadata)
        found = yield from perform(core, job, context.part(2 * number + 1))
        until = yield from trend_until_plan(core, model, context.part(2 * number + 2))
        described[model] = dataclasses.replace(found, trend_until=until)
    return ServerMetadata(server.name, server.version, tuple(server.extensions), described)


def statistics_plan(
    core: Core, model: str | None, endpoint: Endpoint, context: Context
) -> Plan[list[ModelStatistics] | RecommenderError]:
    """Ask one server for its counters."""
    job: Job[Any, list[ModelStatistics]] = Job(
        statistics_message(model),
        lambda answer: [_read_statistics(each, endpoint.address) for each in answer.model_stats],
    )
    try:
        return (yield from ask_server(core, job, endpoint, context))
    except RecommenderError as error:
        return error


def all_that_came(
    answers: Iterable[list[ModelStatistics] | RecommenderError],
) -> list[ModelStatistics]:
    """Put the servers' counters together; servers that are not there have none."""
    came: list[ModelStatistics] = []
    errors: list[RecommenderError] = []
    for answer in answers:
        if isinstance(answer, RecommenderError):
            errors.append(answer)
        else:
            came += answer
    for error in errors:
        if not came or not isinstance(error, _ABSENT):
            raise error
    return came


def _read_model_metadata(answer: Any) -> ModelMetadata:
    def tensors(described: Any) -> tuple[TensorMetadata, ...]:
        return tuple(
            TensorMetadata(each.name, each.datatype, tuple(each.shape)) for each in described
        )

    return ModelMetadata(
        answer.name,
        tuple(answer.versions),
        answer.platform,
        tensors(answer.inputs),
        tensors(answer.outputs),
    )


def _read_statistics(answer: Any, server: str) -> ModelStatistics:
    def times(counted: Any) -> Times:
        return Times(int(counted.count), counted.ns / 1e9)

    detail = answer.inference_stats
    return ModelStatistics(
        server=server,
        name=answer.name,
        version=answer.version,
        inferences=int(answer.inference_count),
        executions=int(answer.execution_count),
        success=times(detail.success),
        fail=times(detail.fail),
        queue=times(detail.queue),
        compute_input=times(detail.compute_input),
        compute_infer=times(detail.compute_infer),
        compute_output=times(detail.compute_output),
    )
