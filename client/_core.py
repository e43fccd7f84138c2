"""One request from its first attempt to its answer: retries, hedges, servers. No I/O.

A plan is a generator. It yields what is to be done, a :data:`Command`, and is sent what came of
it. A shell that carries out seven commands, blocking or not, has everything else from here.

gRPC has retries and round robin of its own; they are not used. gRPC repeats the bytes of the first
attempt, but the time left, which Triton reads in the request, changes with each attempt. A retry of
gRPC's does not avoid the server that failed. Its budget counts answers, not calls. It balances over
the addresses of one name only. Its C core, which Python uses, has no hedging and no least
outstanding.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Generic, TypeVar, cast

from grpc import StatusCode

from client._balancing import Balancer, Endpoint
from client._deadlines import Deadline
from client._decoding import response_parameters
from client._latency import LatencyWindow
from client._protocol import INFER, Message, Procedure, addressed
from client._proxies import Proxy
from client._retry_budget import RetryBudget
from client.errors import Cancelled, DeadlineExceeded, RecommenderError, map_error
from client.observers import Observation, Observer, ResponseInfo
from client.policies import Balancing, Hedge, Retry

_logger = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")
_Result = TypeVar("_Result")

Metadata = tuple[tuple[str, str], ...]

PUSHBACK: Final = "grpc-retry-pushback-ms"
"""In the trailing metadata: https://github.com/grpc/proposal/blob/master/A6-client-retries.md"""


@dataclass(slots=True, eq=False)
class Attempt:
    """One request to one server; ``timeout`` in seconds, None for no deadline."""

    number: int
    endpoint: Endpoint
    probe: bool
    procedure: Procedure[Any]
    body: bytes
    timeout: float | None
    metadata: Metadata
    started: float


@dataclass(slots=True, eq=False)
class Outcome:
    """How an attempt ended: with an ``answer`` (``code`` is OK), or not.

    ``proxy`` stood between, where there was no answer.
    """

    attempt: Attempt
    code: StatusCode
    answer: bytes = b""
    details: str = ""
    trailing: Sequence[tuple[str, str | bytes]] = ()
    cause: BaseException | None = None
    proxy: Proxy | None = None

    def error(self) -> RecommenderError:
        """Return the error that stands for this end, for the caller to raise from ``cause``."""
        return map_error(self.code, self.details, self.proxy.hint if self.proxy else "")


@dataclass(slots=True)
class Ask:
    """Make the attempt; the answer to this command is its :class:`Outcome`."""

    attempt: Attempt


@dataclass(slots=True)
class Start:
    """Set the attempt going; there is no answer. Whatever still runs in the end is cancelled."""

    attempt: Attempt


@dataclass(slots=True)
class GiveUp:
    """Cancel whatever was started and still runs; there is no answer."""


@dataclass(slots=True)
class Wait:
    """Wait for any attempt started; the answer is its Outcome, None if it took too long."""

    seconds: float | None


@dataclass(slots=True)
class Pause:
    """Wait; there is no answer."""

    seconds: float


@dataclass(slots=True)
class Await:
    """Wait for what another thread does, ``seconds`` at most; there is no answer."""

    future: Future[None]
    seconds: float | None


@dataclass(slots=True)
class Together:
    """Run the plans side by side; the answer is the list of their results, or the first error.

    An error gives the other plans up.
    """

    plans: Sequence[Plan[Any]]


Command = Ask | Start | GiveUp | Wait | Pause | Await | Together
Plan = Generator[Command, Any, _Result]


def together(plans: Sequence[Plan[_Result]]) -> Plan[list[_Result]]:
    """Run ``plans`` side by side; the first error gives the others up."""
    if len(plans) == 1:
        return [(yield from plans[0])]
    results = (yield Together(plans)) if plans else []
    if isinstance(results, RecommenderError):
        raise results
    return cast("list[_Result]", results)


@dataclass(slots=True, eq=False)
class Context:
    """What is said once for a request, and what is learnt on the way to its answer.

    ``only`` is the server that it is for; None for any.
    """

    deadline: Deadline
    request_id: str
    metadata: Metadata = ()
    only: Endpoint | None = None
    attempts: int = 0
    hedges: int = 0
    server: str = ""
    answer: bytes = b""

    def parameters(self) -> dict[str, object]:
        """Return the parameters of the inference's answer, none while there is none."""
        return response_parameters(self.answer) if self.answer else {}

    def part(self, number: int, only: Endpoint | None = None) -> Context:
        """Return the context of one of several requests that the call is made of."""
        return Context(self.deadline, f"{self.request_id}.{number}", self.metadata, only)


@dataclass(slots=True, eq=False)
class Job(Generic[_Answer, _Result]):
    """A message, the function that reads the answer, and one that may add to an error."""

    message: Message[_Answer]
    parse: Callable[[_Answer], _Result]
    explain: Callable[[RecommenderError], None] = lambda _: None


@dataclass(slots=True, eq=False)
class Core:
    """The state that the requests of one client share."""

    retry: Retry
    hedge: Hedge | None
    balancing: Balancing
    observers: Sequence[Observer] = ()
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)
    balancer: Balancer = field(init=False)
    budget: RetryBudget = field(init=False)
    latencies: dict[str, LatencyWindow] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.balancer = Balancer(self.balancing)
        self.budget = RetryBudget(self.retry.budget, self.retry.reserve)

    def latency(self, message: Message[Any]) -> LatencyWindow | None:
        """Return the times of such requests; None when they are not asked for."""
        if self.hedge is None:
            return None
        return self.latencies.setdefault(
            f"{message.procedure.name}/{message.model}", LatencyWindow(self.hedge.percentile)
        )

    def hedge_after(self, message: Message[Any]) -> float | None:
        """Return after how many seconds a second request is due, None for never."""
        if self.hedge is None:
            return None
        if self.hedge.after is not None:
            return self.hedge.after
        window = self.latency(message)
        return window.late if window is not None else None


def perform(core: Core, job: Job[_Answer, _Result], context: Context) -> Plan[_Result]:
    """Get the answer to ``job``, read it, and tell the observers."""
    if not core.observers:
        try:
            return job.parse((yield from exchange(core, job.message, context)))
        except RecommenderError as error:
            job.explain(error)
            error.request_id = context.request_id
            raise
    return (yield from _observed(core, job, context))


def _observed(core: Core, job: Job[_Answer, _Result], context: Context) -> Plan[_Result]:
    started = core.clock()
    observations = _start_observing(core, job.message, context)
    error: RecommenderError | None = None
    try:
        return job.parse((yield from exchange(core, job.message, context)))
    except RecommenderError as failure:
        job.explain(failure)
        failure.request_id = context.request_id
        error = failure
        raise
    except BaseException:  # the shell gave up: a cancelled task, a closed iterator
        error = Cancelled("the call was given up before its answer came")
        raise
    finally:
        info = ResponseInfo(
            procedure=job.message.procedure.name,
            model=job.message.model,
            request_id=context.request_id,
            server=context.server,
            attempts=context.attempts,
            hedges=context.hedges,
            seconds=core.clock() - started,
            error=error,
            parameters=context.parameters(),
        )
        for observation in observations:
            _end_observing(observation, info)


# Whatever an observer does, the call goes on.
def _start_observing(core: Core, message: Message[Any], context: Context) -> list[Observation]:
    observations = []
    for observer in core.observers:
        with _logged(context.request_id):
            observation = observer.start(message.procedure.name, message.model, context.request_id)
            context.metadata += tuple(observation.headers)
            observations.append(observation)
    return observations


def _end_observing(observation: Observation, info: ResponseInfo) -> None:
    with _logged(info.request_id):
        observation.end(info)


@contextlib.contextmanager
def _logged(request_id: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        _logger.exception("an observer of the client failed on request %s", request_id)


def exchange(core: Core, message: Message[_Answer], context: Context) -> Plan[_Answer]:
    """Get the answer to ``message``, or raise the error of the last attempt."""
    core.budget.earn()
    attempts = _Attempts(core, message, context)
    try:
        for number in count(1):
            after = core.hedge_after(message) if core.hedge is not None else None
            if after is None:
                outcome = attempts.end((yield Ask(attempts.begin())))
            else:
                outcome = yield from _hedged(attempts, after)
            if outcome.code is StatusCode.OK:
                answer = message.procedure.read(outcome.answer)
                if core.observers and message.procedure is INFER:
                    context.answer = outcome.answer
                return answer
            pause = _pause_before_retry(attempts, outcome, number)
            if pause is None:
                raise outcome.error() from outcome.cause
            _logger.debug(
                "%s: attempt %d at %s failed (%s), retrying in %.0f ms",
                *(context.request_id, number, outcome.attempt.endpoint.address),
                *(outcome.code.name, pause * 1000),
            )
            if pause > 0:
                yield Pause(pause)
        raise AssertionError("unreachable")
    finally:
        attempts.give_up()


def _hedged(attempts: _Attempts, after: float) -> Plan[Outcome]:
    """Make an attempt, and a second one if the first is late; the first success counts."""
    yield Start(attempts.begin())
    outcome = yield Wait(after)
    if outcome is None and attempts.core.budget.spend():
        attempts.context.hedges += 1
        yield Start(attempts.begin())
    while True:
        if outcome is None:
            outcome = yield Wait(None)
        ended = attempts.end(outcome)
        if ended.code is StatusCode.OK or not attempts.running:
            break
        outcome = None
    if attempts.running:  # they are late, and the next request of the plan is not to hear of them
        attempts.give_up()
        yield GiveUp()
    return ended


class _Attempts:
    """The attempts at one message: begins them, counts their ends, knows those that run."""

    __slots__ = ("context", "core", "failed", "message", "running", "tried")

    def __init__(self, core: Core, message: Message[Any], context: Context) -> None:
        self.core = core
        self.message = message
        self.context = context
        self.failed: Outcome | None = None
        self.tried: list[Endpoint] = []
        self.running: list[Attempt] = []

    def begin(self) -> Attempt:
        core, context, now = self.core, self.context, self.core.clock()
        left = context.deadline.left()
        if left is not None and left <= 0:
            if self.failed is not None:  # says more than that the time is over
                raise self.failed.error() from self.failed.cause
            raise DeadlineExceeded(
                "DEADLINE_EXCEEDED: the time was over before the request was sent (pass a longer "
                "timeout=)",
                code=StatusCode.DEADLINE_EXCEEDED,
            )
        body = addressed(self.message, context.request_id, left)
        endpoint, probe = core.balancer.begin(now, self.tried, context.only)
        context.attempts += 1
        context.server = endpoint.address
        attempt = Attempt(
            context.attempts,
            endpoint,
            probe,
            self.message.procedure,
            body,
            left,
            context.metadata,
            now,
        )
        self.tried.append(endpoint)
        self.running.append(attempt)
        return attempt

    def end(self, outcome: Outcome | None) -> Outcome:
        assert outcome is not None  # only Wait with a limit may answer None
        attempt, now = outcome.attempt, self.core.clock()
        self.running.remove(attempt)
        self.core.balancer.end(attempt.endpoint, outcome.code, now, probe=attempt.probe)
        if outcome.code is StatusCode.OK:
            self.context.server = attempt.endpoint.address
            window = self.core.latency(self.message)
            if window is not None:
                window.add(now - attempt.started)
        else:
            self.failed = outcome
        return outcome

    def others_left(self) -> bool:
        """Whether there are servers that were not tried, and may be."""
        return self.context.only is None and len(set(self.tried)) < len(
            self.core.balancer.endpoints
        )

    def give_up(self) -> None:
        """Count what still runs as ended; the shell cancels it."""
        for attempt in self.running:
            now = self.core.clock()
            self.core.balancer.end(attempt.endpoint, None, now, probe=attempt.probe)
        self.running.clear()


def _pause_before_retry(attempts: _Attempts, outcome: Outcome, number: int) -> float | None:
    """Return the seconds to wait before the next attempt, None when there is to be none."""
    core, deadline = attempts.core, attempts.context.deadline
    if number >= core.retry.attempts:
        return None
    pushback = next((value for key, value in outcome.trailing if key == PUSHBACK), None)
    if pushback is not None:
        try:
            pause = int(pushback) / 1000
        except ValueError:
            return None
        if pause < 0:
            return None
    elif outcome.code in (StatusCode.UNAVAILABLE, StatusCode.ALREADY_EXISTS) or (
        # Of one server this is final. Of several, it may be one that just starts.
        outcome.code is StatusCode.NOT_FOUND and attempts.others_left()
    ):
        ceiling = core.retry.initial_backoff * 2 ** min(number - 1, 32)
        pause = core.rng.uniform(0, min(core.retry.max_backoff, ceiling))
    else:
        return None
    left = deadline.left()
    if left is not None and pause >= left:
        return None
    return pause if core.budget.spend() else None


def ask_server(
    core: Core, job: Job[_Answer, _Result], endpoint: Endpoint, context: Context
) -> Plan[_Result]:
    """Ask this very server, once; the balancer neither chooses nor learns from it."""
    left = context.deadline.left()
    attempt = Attempt(
        number=1,
        endpoint=endpoint,
        probe=False,
        procedure=job.message.procedure,
        body=addressed(job.message, context.request_id, left),
        timeout=left,
        metadata=context.metadata,
        started=core.clock(),
    )
    outcome = yield Ask(attempt)
    assert outcome is not None
    if outcome.code is not StatusCode.OK:
        raise outcome.error() from outcome.cause
    return job.parse(job.message.procedure.read(outcome.answer))
