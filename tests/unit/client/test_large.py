"""Calls that are split into several requests, and calls for many users; through both clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import InvalidInput, Item, Overloaded, RecommenderClient, Unavailable
from client._calls import _cut
from client._configuration import Limits
from client.testing import FakeServer
from tests.unit.client.conftest import Triton

PATIENT = 60


def item(number: int, text: str | None = None) -> Item:
    return Item(f"i{number}", text)


@given(
    st.lists(st.sampled_from(["", "a", "b", "c", "d", "e", "f"]), max_size=40),
    st.sets(st.sampled_from("abx"), max_size=2),
    st.none() | st.integers(1, 6),
    st.none() | st.integers(1, 9),
)
def test_cuts_fit_the_limits_and_lose_nothing(
    texts: list[str], always: set[str], most: int | None, longest: int | None
) -> None:
    bounds = _cut(texts, always, Limits(most, longest))
    assert [i for start, stop in bounds for i in range(start, stop)] == list(range(len(texts)))
    room = 99 if most is None else max(1, most - len(always))
    longest = 99 if longest is None else longest

    def fits(start: int, stop: int) -> bool:
        own = {text for text in texts[start:stop] if text} - always
        return len(own) <= room and stop - start <= longest

    assert all(fits(start, stop) for start, stop in bounds)
    # As few as can be: no run has room for the first entry of the next.
    assert not any(fits(start, stop + 1) for start, stop in bounds[:-1])


class TestSplitting:
    def test_a_ranking_is_put_together_in_order(
        self, client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
    ) -> None:
        triton.limit = 3

        def answer(request: Any) -> Any:
            ids = [
                int(each[1:])
                for each in decode(request.raw_input_contents[names(request).index("CANDIDATE")])
            ]
            logits = np.array([ids], np.float32).reshape(1, -1)
            return respond(
                INTEREST=logits / 100,
                LOGIT=logits,
                SKIPPED=np.array([[2]], np.int32),
                # The history's text is cut, and every second text of the candidates.
                TRUNCATED=np.array([[1 + sum(i % 2 for i in ids)]], np.int32),
            )

        triton.answer = answer
        candidates = [item(number, f"text {number}") for number in range(10)]
        ranking = client.rank([Item("h", "long")], candidates)
        assert ranking.items == tuple(f"i{number}" for number in range(10))
        assert ranking.logits.tolist() == list(range(10))
        np.testing.assert_allclose(ranking.interests, np.arange(10) / 100, rtol=1e-6)
        # At least: that the history's was cut shows as all parts have one, or here two, too many.
        assert ranking.skipped == 2
        assert 1 <= ranking.truncated <= 6
        assert not ranking.logits.flags.writeable
        assert len(triton.requests) == 5  # two texts each beside the history's
        ids = {request.id.rpartition(".")[0] for request in triton.requests}
        assert len(ids) == 1

    def test_known_items_are_not_limited(self, client: RecommenderClient, triton: Triton) -> None:
        triton.limit = 3
        assert len(client.rank(["h"], [item(number) for number in range(10_000)])) == 10_000
        assert len(triton.requests) == 1

    def test_a_limit_of_candidates_is_kept(self, client: RecommenderClient, triton: Triton) -> None:
        triton.max_candidates = 400
        ids = [f"i{number}" for number in range(1001)]
        assert client.rank(["h"], ids).items == tuple(ids)
        sizes = sorted(request.inputs[1].shape[1] for request in triton.requests)
        assert sizes == [201, 400, 400]

    def test_limits_are_asked_again_after_a_refusal(
        self, client: RecommenderClient, triton: Triton
    ) -> None:
        """The repository may have been exported anew, with smaller ones."""
        triton.limit = 8
        client.encode(["a", "b"])
        triton.limit = 2
        triton.abort = (grpc.StatusCode.INVALID_ARGUMENT, "batch-size must be <= 2")
        with pytest.raises(InvalidInput):
            client.encode(["a", "b", "c"])
        triton.abort = None
        triton.requests.clear()
        client.encode(["a", "b", "c"])
        assert len(triton.requests) == 2

    def test_limits_are_asked_again_after_a_refusal_of_one_part(
        self, client: RecommenderClient, triton: Triton
    ) -> None:
        triton.limit = 4
        client.encode(["a"] * 10)
        triton.limit = 2
        triton.abort = (grpc.StatusCode.INVALID_ARGUMENT, "batch-size must be <= 2")
        with pytest.raises(InvalidInput):
            client.encode(["a"] * 10)
        triton.abort = None
        client.encode(["a"] * 10, request_id="again")
        assert sum(request.id.startswith("again.") for request in triton.requests) == 5

    def test_texts_cut_count_fully_where_the_history_has_none(
        self, client: RecommenderClient, triton: Triton
    ) -> None:
        triton.limit = 2
        ranking = client.rank([], [item(number, f"text {number}") for number in range(6)])
        assert ranking.truncated == 3 * 2

    def test_equal_texts_count_once(self, client: RecommenderClient, triton: Triton) -> None:
        triton.limit = 2
        client.rank([], [item(number, f"text {number % 2}") for number in range(10)])
        assert len(triton.requests) == 1

    def test_encodings_and_the_limit_is_asked_once(
        self, client: RecommenderClient, triton: Triton
    ) -> None:
        triton.limit = 4
        for _ in range(2):
            encoding = client.encode([f"text {number}" for number in range(10)])
            assert encoding.vectors.shape == (10, 4)
            assert len(encoding.truncated) == 10
        sizes = sorted(request.inputs[0].shape[0] for request in triton.requests)
        assert sizes == [2, 2, 4, 4, 4, 4]
        assert len(triton.config_requests) == 1

    def test_a_refusal_names_what_the_caller_passed(
        self, client: RecommenderClient, triton: Triton
    ) -> None:
        triton.limit = 2

        def answer(request: Any) -> Any:
            ids = decode(request.raw_input_contents[names(request).index("CANDIDATE")])
            if "i7" in ids:
                raise Refused(f"CANDIDATE_TEXT[{ids.index('i7')}] is not what it should be")
            return type(triton).answer(request)

        triton.answer = answer
        with pytest.raises(InvalidInput, match=r"^candidates\[7\]\.text is 'text 7'") as caught:
            client.rank([], [item(number, f"text {number}") for number in range(9)])
        assert caught.value.field == "candidates[7].text"
        assert caught.value.value == "text 7"
        assert "is not what it should be" in caught.value.details

    @pytest.mark.parametrize(
        ("said", "field", "value"),
        [
            ("in ensemble 'rank', CANDIDATE[1] 'b' is not in the catalogue", "candidates[1]", "b"),
            ("HISTORY_TIME[0] is 8, before", "history[0].time", None),
            ("HISTORY[0] is odd", "history[0]", "h"),
            ("CANDIDATE[9] is out of what was sent", None, None),
            ("there is no option 'x'", None, None),
            ("SOMETHING[1] else", None, None),
        ],
    )
    def test_a_refusal_that_names_a_tensor_names_the_argument(
        self,
        client: RecommenderClient,
        triton: Triton,
        said: str,
        field: str | None,
        value: str | None,
    ) -> None:
        triton.abort = (grpc.StatusCode.INVALID_ARGUMENT, said)
        with pytest.raises(InvalidInput) as caught:
            client.rank(["h"], ["a", "b"])
        if value is not None or field is None:
            assert (caught.value.field, caught.value.value) == (field, value)

    def test_a_refused_profile_is_named(self, client: RecommenderClient, triton: Triton) -> None:
        said = "PROFILE[0] gives 'aeg' the value 24, and the model knows no such column"
        triton.abort = (grpc.StatusCode.INVALID_ARGUMENT, said)
        for call in (client.recommend, lambda history, **b: client.rank(history, ["x"], **b)):
            with pytest.raises(InvalidInput, match=said.replace("[", r"\[")) as caught:
                call([], profile={"aeg": 24})
            assert (caught.value.field, caught.value.value) == ("profile", {"aeg": 24})

    def test_side_by_side_but_bounded(
        self, triton: Triton, connect: type[RecommenderClient]
    ) -> None:
        triton.limit = 1
        running, most, lock = 0, 0, threading.Lock()

        def answer(request: Any) -> Any:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1
            return type(triton).answer(request)

        triton.answer = answer
        with connect(triton.address, timeout=PATIENT, max_parallel=3) as client:
            client.encode([f"text {number}" for number in range(12)])
        assert 2 <= most <= 3

    def test_an_error_of_one_part_is_the_calls_and_ends_the_others(
        self, triton: Triton, connect: type[RecommenderClient]
    ) -> None:
        triton.limit = 1

        def answer(request: Any) -> Any:
            if b"text 1" in request.raw_input_contents[0]:
                raise Refused("no")
            triton.released.wait(PATIENT)
            return type(triton).answer(request)

        triton.answer = answer
        with (
            connect(triton.address, timeout=PATIENT) as client,
            pytest.raises(InvalidInput),
        ):
            client.encode(["text 0", "text 1", "text 2"])

    @pytest.mark.parametrize("code", ["NOT_FOUND", "PERMISSION_DENIED", "UNIMPLEMENTED"])
    def test_a_server_that_keeps_its_limit_secret(
        self, client: RecommenderClient, triton: Triton, code: str
    ) -> None:
        triton.config_abort = grpc.StatusCode[code]
        assert len(client.encode(["a", "b", "c"]).vectors) == 3
        assert len(triton.requests) == 1


class Refused(Exception):  # noqa: N818 - it is what the server says
    """Makes the server answer INVALID_ARGUMENT."""


def names(request: Any) -> list[str]:
    return [tensor.name for tensor in request.inputs]


def decode(raw: bytes) -> list[str]:
    from client._bytes import decode_strings

    return decode_strings(raw)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["a", "b", "c", "d"]) as running:
        yield running


@pytest.fixture
def patient(server: FakeServer, connect: type[RecommenderClient]) -> Iterator[RecommenderClient]:
    with connect(server.address, timeout=PATIENT) as client:
        yield client


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class TestMany:
    def test_in_order_with_progress(self, patient: RecommenderClient) -> None:
        seen: list[int] = []
        users = [([str(n)], ["a", str(n)]) for n in range(40)]
        answers = list(patient.rank_many(users, concurrency=4, progress=seen.append))
        assert [each.position for each in answers] == list(range(40))
        assert [each.user for each in answers] == users
        assert [each.result and each.result.items for each in answers] == [
            ("a", str(n)) for n in range(40)
        ]
        assert seen == list(range(1, 41))

    def test_as_completed(self, patient: RecommenderClient) -> None:
        answers = list(patient.recommend_many([["a"], ["b"]] * 10, ordered=False, top_k=1))
        assert sorted(each.position for each in answers) == list(range(20))
        for each in answers:
            assert each.user == [["a"], ["b"]][each.position % 2]
            assert each.result is not None
            assert each.result.items == (("b",) if each.user == ["a"] else ("a",))

    def test_no_users(self, patient: RecommenderClient) -> None:
        assert list(patient.rank_many([])) == []

    def test_back_pressure(self, patient: RecommenderClient) -> None:
        taken = []

        def users() -> Iterator[list[str]]:
            for number in range(10_000):
                taken.append(number)
                yield [str(number)]

        answers = patient.recommend_many(users(), concurrency=3)
        assert isinstance(answers, Generator)
        for count in range(1, 20):
            next(answers)
            assert len(taken) <= count - 1 + 6
        answers.close()
        assert len(taken) < 30

    def test_closing_cancels_on_the_server(self, connect: type[RecommenderClient]) -> None:
        released = threading.Event()

        def score(history: Sequence[str], _: object) -> float:
            return 1.0 if history == ["0"] else float(released.wait(PATIENT))

        users = ([str(number)] for number in range(1000))
        with FakeServer("a", score=score) as server, connect(server.address, timeout=PATIENT) as it:
            answers = it.recommend_many(users, concurrency=4)
            assert isinstance(answers, Generator)
            assert next(answers).position == 0
            until(lambda: len(server.requests) == 5)
            answers.close()
            until(lambda: server.cancelled == 4)
            released.set()
            assert len(server.requests) == 5

    def test_the_first_error_ends_it(self, patient: RecommenderClient, server: FakeServer) -> None:
        server.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, times=10_000)
        with pytest.raises(Overloaded):
            list(patient.recommend_many([["a"]] * 1000, concurrency=2))
        assert len(server.requests) < 20

    def test_errors_can_be_returned(self, patient: RecommenderClient, server: FakeServer) -> None:
        server.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "later", times=2)
        users: list[Any] = [["a"], 5, ["b"], ["c"]]
        answers = list(patient.recommend_many(users, on_error="return", concurrency=1))
        assert [type(each.error) for each in answers] == [
            Overloaded,
            InvalidInput,
            Overloaded,
            type(None),
        ]
        assert answers[3].result is not None
        assert answers[0].result is None

    @pytest.mark.parametrize(
        "options",
        [{"concurrency": 0}, {"on_error": "ignore"}, {"ordered": 1}, {"timeout": "1"}],
    )
    def test_wrong_options_are_refused_at_once(
        self, nowhere: RecommenderClient, options: Any
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            nowhere.rank_many([], **options)
        assert caught.value.field == next(iter(options))

    def test_an_error_of_the_iterable_is_the_callers(self, patient: RecommenderClient) -> None:
        def users() -> Iterator[list[str]]:
            yield ["a"]
            raise KeyError("lost")

        with pytest.raises(KeyError, match="lost"):
            list(patient.recommend_many(users()))

    def test_nothing_listens(self, nowhere: RecommenderClient) -> None:
        with pytest.raises(Unavailable):
            list(nowhere.rank_many([([], ["a"])]))
