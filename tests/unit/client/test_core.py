"""Retries, hedges and the choice of servers, decided without a network and on a clock of ours."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st

from client import (
    Balancing,
    Connection,
    DeadlineExceeded,
    Hedge,
    InvalidInput,
    Overloaded,
    RecommenderError,
    Retry,
    Tls,
    Unavailable,
)
from client._balancing import Balancer, Endpoint
from client._core import (
    PUSHBACK,
    Ask,
    Attempt,
    Context,
    Core,
    Job,
    Outcome,
    Pause,
    Start,
    Wait,
    perform,
)
from client._deadlines import Deadline
from client._latency import LatencyWindow
from client._protocol import Message, Procedure
from client._retry_budget import RetryBudget

MESSAGE = Message(Procedure("Echo", lambda raw: raw), b"body")
JOB = Job(MESSAGE, lambda answer: answer)
LATER = object()


class Play:
    """Carries a plan out on a clock of its own; ``answers`` say what servers do."""

    def __init__(
        self,
        core_options: dict[str, Any] | None = None,
        servers: Sequence[str] = ("a:1", "b:1"),
        **policies: Any,
    ) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self.pauses: list[float] = []
        self.core = Core(
            policies.get("retry", Retry()),
            policies.get("hedge"),
            policies.get("balancing", Balancing()),
            clock=lambda: self.now,
            rng=random.Random(7),
            **(core_options or {}),
        )
        self.core.balancer.update([(each, None) for each in servers])

    def run(self, answer: Callable[[Attempt], object], timeout: float | None = None) -> Any:
        plan = perform(self.core, JOB, Context(Deadline.after(timeout, None), "id"))
        reply = None
        running = []
        try:
            while True:
                command = plan.send(reply)
                reply = None
                match command:
                    case Ask(attempt):
                        self.asked.append(attempt.endpoint.address)
                        reply = self.outcome(attempt, answer)
                    case Start(attempt):
                        self.asked.append(attempt.endpoint.address)
                        running.append(attempt)
                    case Wait(seconds):
                        for attempt in running:
                            outcome = self.outcome(attempt, answer)
                            if outcome is not None:
                                running.remove(attempt)
                                reply = outcome
                                break
                        else:
                            assert seconds is not None, "it would wait for ever"
                    case Pause(seconds):
                        self.pauses.append(seconds)
                        self.now += seconds
        except StopIteration as done:
            return done.value
        finally:
            plan.close()

    def outcome(self, attempt: Attempt, answer: Callable[[Attempt], object]) -> Outcome | None:
        given = answer(attempt)
        if given is LATER:
            return None
        if isinstance(given, bytes):
            return Outcome(attempt, StatusCode.OK, given)
        code, *trailing = given if isinstance(given, tuple) else (given,)
        return Outcome(attempt, code, details="no", trailing=[(PUSHBACK, t) for t in trailing])


def test_an_answer_is_returned() -> None:
    play = Play()
    assert play.run(lambda _: b"yes") == b"yes"
    assert len(play.asked) == 1


def test_a_retry_goes_to_another_server() -> None:
    play = Play()
    first = []

    def answer(attempt: Attempt) -> object:
        first.append(attempt.endpoint.address)
        return StatusCode.UNAVAILABLE if len(first) == 1 else b"yes"

    assert play.run(answer) == b"yes"
    assert sorted(play.asked) == ["a:1", "b:1"]
    assert 0 <= play.pauses[0] <= 0.01


@pytest.mark.parametrize("code", [code for code in StatusCode if code is not StatusCode.OK])
def test_only_what_is_safe_is_repeated(code: StatusCode) -> None:
    play = Play()
    with pytest.raises(RecommenderError):
        play.run(lambda _: code)
    repeated = {
        StatusCode.UNAVAILABLE: 3,
        StatusCode.ALREADY_EXISTS: 3,
        StatusCode.NOT_FOUND: 2,
    }  # at the other server
    assert len(play.asked) == repeated.get(code, 1)


def test_the_only_server_is_believed_that_it_has_no_such_model() -> None:
    play = Play(servers=["a:1"])
    with pytest.raises(RecommenderError):
        play.run(lambda _: StatusCode.NOT_FOUND)
    assert len(play.asked) == 1


@pytest.mark.parametrize(
    ("pushback", "attempts", "pauses"),
    [("30", 3, [0.03, 0.03]), ("0", 3, []), ("-1", 1, []), ("soon", 1, []), ("", 1, [])],
)
def test_the_server_says_when_and_whether(
    pushback: str, attempts: int, pauses: list[float]
) -> None:
    play = Play()
    with pytest.raises(Overloaded):
        play.run(lambda _: (StatusCode.RESOURCE_EXHAUSTED, pushback))
    assert (len(play.asked), play.pauses) == (attempts, pauses)


def test_no_retry_that_could_not_begin_in_time() -> None:
    play = Play(retry=Retry(initial_backoff=100, max_backoff=100))
    with pytest.raises(Unavailable):
        play.run(lambda _: StatusCode.UNAVAILABLE, timeout=0.2)
    assert (len(play.asked), play.pauses) == (1, [])


def test_back_off_is_exponential_with_full_jitter() -> None:
    pauses: list[list[float]] = []
    for _ in range(300):
        play = Play(retry=Retry(attempts=5, initial_backoff=0.1, max_backoff=0.3, reserve=9))
        play.core.rng.seed(len(pauses))
        with pytest.raises(Unavailable):
            play.run(lambda _: StatusCode.UNAVAILABLE)
        pauses.append(play.pauses)
    for position, ceiling in enumerate([0.1, 0.2, 0.3, 0.3]):
        column = [each[position] for each in pauses]
        assert max(column) <= ceiling
        assert min(column) < 0.1 * ceiling
        assert max(column) > 0.9 * ceiling


@given(st.integers(100, 1000), st.integers(2, 6))
@settings(deadline=None, max_examples=30)
def test_a_storm_adds_a_tenth_at_most(calls: int, attempts: int) -> None:
    play = Play(retry=Retry(attempts=attempts))
    for _ in range(calls):
        with pytest.raises(Unavailable):
            play.run(lambda _: StatusCode.UNAVAILABLE)
    assert calls < len(play.asked) <= 1.1 * calls + 1e-6


@given(st.lists(st.booleans(), max_size=400), st.sampled_from([0, 0.1, 0.5]), st.integers(0, 20))
def test_a_budget_is_never_overdrawn(wishes: list[bool], ratio: float, reserve: int) -> None:
    budget = RetryBudget(ratio, reserve)
    spent = 0
    for calls, wish in enumerate(wishes, 1):
        budget.earn()
        spent += wish and budget.spend()
        assert spent <= max(reserve, ratio * calls) + 1e-6


def test_savings_have_a_limit() -> None:
    budget = RetryBudget(0.1, 10)
    for _ in range(10_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 10


def test_a_deadline_covers_everything() -> None:
    play = Play()
    with pytest.raises(DeadlineExceeded, match="before the request was sent"):
        play.run(lambda _: b"yes", timeout=-1)
    assert not play.asked


class TestHedging:
    def test_the_second_request_answers_first(self) -> None:
        play = Play(hedge=Hedge(after=0.01))
        assert play.run(lambda a: LATER if a.number == 1 else b"second") == b"second"
        assert sorted(play.asked) == ["a:1", "b:1"]
        assert [each.outstanding for each in play.core.balancer.endpoints] == [0, 0]

    def test_a_fast_answer_needs_no_second_request(self) -> None:
        play = Play(hedge=Hedge(after=0.01))
        assert play.run(lambda _: b"first") == b"first"
        assert len(play.asked) == 1

    def test_a_failure_of_one_leaves_the_other(self) -> None:
        play = Play(hedge=Hedge(after=0.01))
        looked: Counter[int] = Counter()

        def answer(attempt: Attempt) -> object:
            looked[attempt.number] += 1
            if attempt.number == 2:
                return StatusCode.INTERNAL
            return b"first" if looked[1] > 2 else LATER

        assert play.run(answer) == b"first"

    def test_no_hedge_without_budget(self) -> None:
        play = Play(hedge=Hedge(after=0.01), retry=Retry(budget=0, reserve=0))
        looked: Counter[int] = Counter()

        def answer(attempt: Attempt) -> object:
            looked[attempt.number] += 1
            return LATER if looked[attempt.number] == 1 else b"late"

        assert play.run(answer) == b"late"
        assert len(play.asked) == 1

    def test_the_percentile_is_learnt(self) -> None:
        play = Play(hedge=Hedge())
        for _ in range(20):
            assert play.core.hedge_after(MESSAGE) is None
            assert play.run(lambda _: b"yes") == b"yes"
        assert play.core.hedge_after(MESSAGE) == 0

    def test_a_window_tells_the_percentile(self) -> None:
        window = LatencyWindow(95)
        for number in range(100):
            assert window.late is None or number >= 20
            window.add(float(number))
        assert window.late is not None
        assert 70 <= window.late <= 99


class TestBalancing:
    SERVERS = ("a:1", "b:1", "c:1")

    def balancer(self, **options: Any) -> Balancer:
        balancer = Balancer(Balancing(**options))
        balancer.update([(each, None) for each in self.SERVERS])
        return balancer

    def call(self, balancer: Balancer, now: float, code: StatusCode = StatusCode.OK) -> Endpoint:
        endpoint, probe = balancer.begin(now)
        balancer.end(endpoint, code, now, probe=probe)
        return endpoint

    def test_round_robin_takes_turns(self) -> None:
        balancer = self.balancer()
        counts = Counter(self.call(balancer, 0).address for _ in range(300))
        assert counts == dict.fromkeys(self.SERVERS, 100)

    def test_least_outstanding_avoids_the_slow(self) -> None:
        balancer = self.balancer(strategy="least_outstanding")
        slow, _ = balancer.begin(0)
        asked = {self.call(balancer, 0).address for _ in range(20)}
        assert asked == set(self.SERVERS) - {slow.address}

    def eject(self, balancer: Balancer, address: str, now: float) -> Endpoint:
        (endpoint,) = [each for each in balancer.endpoints if each.address == address]
        while endpoint.ejected_until is None:
            chosen, probe = balancer.begin(now)
            failed = chosen is endpoint
            code = StatusCode.UNAVAILABLE if failed else StatusCode.OK
            balancer.end(chosen, code, now, probe=probe)
        return endpoint

    def test_a_failing_server_is_ejected_probed_and_returns(self) -> None:
        balancer = self.balancer(eject_for=1)
        endpoint = self.eject(balancer, "b:1", 0)
        assert endpoint.failures == 3
        assert {self.call(balancer, 0.5).address for _ in range(20)} == {"a:1", "c:1"}
        # One call decides, on a new connection; meanwhile the others go elsewhere.
        probes = [balancer.begin(1.5) for _ in range(6)]
        assert [e.address for e, probe in probes if probe] == ["b:1"]
        assert sum(e is endpoint for e, _ in probes) == 1
        assert endpoint.generation == 1
        for e, probe in probes:
            balancer.end(e, StatusCode.OK, 1.6, probe=probe)
        assert {self.call(balancer, 2).address for _ in range(20)} == set(self.SERVERS)

    def test_a_failed_probe_doubles_the_time_up_to_a_limit(self) -> None:
        balancer = self.balancer(eject_for=1, max_eject_for=3)
        endpoint = self.eject(balancer, "b:1", 0)
        now, lasted = 0.0, []
        for _ in range(4):
            assert endpoint.ejected_until is not None
            lasted.append(endpoint.ejected_until - now)
            now = endpoint.ejected_until
            for _ in range(3):
                chosen, probe = balancer.begin(now)
                code = StatusCode.UNAVAILABLE if chosen is endpoint else StatusCode.OK
                balancer.end(chosen, code, now, probe=probe)
        assert lasted == [1, 2, 3, 3]

    def test_a_probe_given_up_decides_nothing(self) -> None:
        balancer = self.balancer(eject_for=1)
        endpoint = self.eject(balancer, "b:1", 0)
        given_up = [balancer.begin(2) for _ in range(3)]
        for e, probe in given_up:
            balancer.end(e, None, 2, probe=probe)
        assert not endpoint.probing
        assert any(probe for _, probe in [balancer.begin(2) for _ in range(3)])

    def test_a_refusal_ejects_nobody(self) -> None:
        balancer = self.balancer()
        for _ in range(60):
            self.call(balancer, 0, StatusCode.INVALID_ARGUMENT)
        assert all(each.ejected_until is None for each in balancer.endpoints)

    def test_when_all_are_ejected_all_are_used(self) -> None:
        balancer = self.balancer(eject_after=1)
        for _ in range(3):
            self.call(balancer, 0, StatusCode.UNAVAILABLE)
        assert all(each.ejected_until is not None for each in balancer.endpoints)
        assert {self.call(balancer, 0, StatusCode.UNAVAILABLE).address for _ in range(20)} == set(
            self.SERVERS
        )

    def test_new_addresses_come_in_and_known_ones_keep_their_state(self) -> None:
        balancer = self.balancer()
        endpoint = self.eject(balancer, "b:1", 0)
        balancer.update([("b:1", None), ("d:1", None)])
        assert [each.address for each in balancer.endpoints] == ["b:1", "d:1"]
        assert balancer.endpoints[0] is endpoint

    @given(st.data())
    def test_counts_return_to_zero_whatever_happens(self, data: st.DataObject) -> None:
        balancer = self.balancer(
            strategy=data.draw(st.sampled_from(["round_robin", "least_outstanding"]))
        )
        running: list[tuple[Endpoint, bool]] = []
        now = 0.0
        for step in data.draw(st.lists(st.integers(0, 3), max_size=60)):
            now += 0.3
            if step == 0 or not running:
                running.append(balancer.begin(now))
            else:
                endpoint, probe = running.pop(0)
                code = (StatusCode.OK, StatusCode.UNAVAILABLE, None)[step - 1]
                balancer.end(endpoint, code, now, probe=probe)
        for endpoint, probe in running:
            balancer.end(endpoint, None, now, probe=probe)
        assert [each.outstanding for each in balancer.endpoints] == [0, 0, 0]
        assert not any(each.probing for each in balancer.endpoints)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Retry(attempts=0), "retry.attempts"),
        (lambda: Retry(attempts=True), "retry.attempts"),
        (lambda: Retry(max_backoff=float("nan")), "retry.max_backoff"),
        (lambda: Retry(budget=-0.1), "retry.budget"),
        (lambda: Hedge(after=-1), "hedge.after"),
        (lambda: Hedge(percentile=101), "hedge.percentile"),
        (lambda: Balancing(strategy="random"), "balancing.strategy"),  # type: ignore[arg-type]
        (lambda: Balancing(eject_after=0), "balancing.eject_after"),
        (lambda: Connection(max_age=-1), "connection.max_age"),
        (lambda: Connection(keepalive=0), "connection.keepalive"),
        (lambda: Tls(certificate="a.pem"), "tls.key"),
        (lambda: Tls(key="a.pem"), "tls.certificate"),
    ],
)
def test_policies_say_what_is_wrong(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.field == field
