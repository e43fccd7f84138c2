"""Batches of users of every kind, with and without texts that the catalogue does not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_repository.core import contract
from model_repository.core.arrays import Floats
from model_repository.core.batch import Later, Outcome, Request, Tensors, answer
from model_repository.core.errors import (
    InvalidRequest,
    Overloaded,
    Unavailable,
    UserEncoderFailed,
    UserEncoderUnavailable,
)
from model_repository.core.handler import EncodedTexts, Observer, Rank, Recommend, UserHandler
from model_repository.core.scoring import Scorer
from model_repository.core.trend import NO_TREND, Trend
from model_repository.core.users import EventBatch
from tests.unit.model_repository.catalogues import (
    CountedTexts,
    EventSums,
    catalogue,
    reader,
)
from tests.unit.model_repository.conftest import strings, user

ITEMS = 30
NOW = 1_700_000_000
TREND = Trend(3_600.0, 1.0, np.full(ITEMS, NOW / 3_600), NOW)
CATALOGUE = replace(catalogue(ITEMS, cold=(3, 9, 14), cold_rank=3), trend=TREND)
EVERYTHING = [f"i{number}" for number in range(ITEMS)]
READER = reader(CATALOGUE, max_top_k=12)


class Handlers:
    def __init__(self) -> None:
        self.texts = CountedTexts()
        scorer = Scorer(CATALOGUE, EventSums())
        self.items: list[tuple[int, int]] = []
        observer = Observer(self._count)
        self.rank = Rank(READER, scorer, self.texts, observer)
        self.recommend = Recommend(READER, scorer, self.texts, observer)

    def _count(self, named: int, unknown: int) -> None:
        self.items.append((named, unknown))


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


def one(handler: UserHandler, request: Request) -> Tensors:
    (outcome,) = answer(handler, [request])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def test_the_outputs_are_those_of_the_contract(handlers: Handlers) -> None:
    request = user(
        ["i1", "x", "y"],
        history_text=["", "toy", ""],
        candidate=["i2", "z"],
        candidate_text=["", "cut: a long text"],
        parameters={"explain": True},
    )
    found = one(handlers.rank, request)
    assert found.keys() == {spec.name for spec in contract.RANK.outputs}
    dtypes = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64, "BYTES": np.object_}
    for spec in contract.RANK.outputs:
        assert found[spec.name].dtype == dtypes[spec.dtype]
        assert found[spec.name].shape == tuple({"N": 2}.get(str(axis), axis) for axis in spec.dims)
    assert (found["SKIPPED"].tolist(), found["TRUNCATED"].tolist()) == ([[1]], [[1]])
    expected = CATALOGUE.calibration.interest(found["LOGIT"])
    np.testing.assert_array_equal(found["INTEREST"], expected)


def test_each_request_has_the_trend_of_its_time(handlers: Handlers) -> None:
    later = NOW + 3_600
    asked = [user(["i1"], candidate=["i2"], parameters={"time": time}) for time in (0, later)]
    now, then = answer(handlers.rank, asked)
    assert not isinstance(now, Exception)
    assert not isinstance(then, Exception)
    assert (now["TREND_TIME"].tolist(), then["TREND_TIME"].tolist()) == ([[NOW]], [[later]])
    # Every item has one event, and the first counts are from the moment of it.
    faded = np.log1p(1) - np.log1p(np.exp(-1))
    np.testing.assert_allclose(now["LOGIT"] - then["LOGIT"], [[faded]], rtol=1e-4)


def test_a_model_without_a_trend_tells_no_time(handlers: Handlers) -> None:
    scorer = Scorer(replace(CATALOGUE, trend=NO_TREND), EventSums())
    found = one(Rank(READER, scorer, handlers.texts), user(["i1"], candidate=["i2"]))
    assert contract.TREND_TIME.name not in found


def test_no_candidates_and_one_that_is_skipped(handlers: Handlers) -> None:
    assert one(handlers.rank, user(["i1"], candidate=[]))["LOGIT"].shape == (1, 0)
    skipped = user(["i1"], candidate=["x", "i2"], parameters={"on_unknown": "skip"})
    assert np.isnan(one(handlers.rank, skipped)["INTEREST"][0]).tolist() == [True, False]


def test_known_items_encode_nothing(handlers: Handlers) -> None:
    handlers.rank([user(["i1"], candidate=["i2"]), user([], candidate=["i3"])])
    handlers.recommend([user(["i1", "unknown"])])
    assert handlers.texts.asked == []


def test_items_are_counted_once_a_batch(handlers: Handlers) -> None:
    skip = {"on_unknown": "skip"}
    handlers.rank(
        [user(["i1", "x"], candidate=["i2"]), user([], candidate=["i3", "y"], parameters=skip)]
    )
    assert handlers.items == [(5, 2)]
    texts = user(["x"], history_text=["toy"], candidate=["y", "i4"], candidate_text=["story", ""])
    answer(handlers.rank, [texts, user(["i1"], candidate=["refused"])])
    assert handlers.items == [(5, 2), (3, 0)]
    long = ["i1", "x"] * 500  # more than the network reads
    handlers.recommend([user(long)])
    assert handlers.items[-1] == (1000, 500)


KNOWN = user(["i1"], candidate=["i2", "i3"])
NEW = user(["i1"], candidate=["x"], candidate_text=["toy"])
ALSO_NEW = user(["y"], history_text=["toy"], candidate=["x", "i4"], candidate_text=["story", ""])
BAD = user(["i1"], candidate=["x"])
BREAKS = user([], candidate=["x"], candidate_text=["breaks"])


class TestMixedBatches:
    def test_requests_with_texts_come_later_and_nobody_waits_for_them(
        self, handlers: Handlers
    ) -> None:
        found = handlers.rank([NEW, KNOWN, BAD, ALSO_NEW, KNOWN])
        kinds = [Later, dict, InvalidRequest, Later, dict]
        assert [isinstance(each, kind) for each, kind in zip(found, kinds, strict=True)] == [
            True
        ] * 5
        assert handlers.texts.asked == []
        waiting = [each for each in found if isinstance(each, Later)]
        finished = handlers.rank.finish(waiting)
        assert handlers.texts.asked == [["toy", "story"]]  # each once, and all together
        for late, request in zip(finished, (NEW, ALSO_NEW), strict=True):
            assert_same(late, one(handlers.rank, request))
        assert_same(found[1], one(handlers.rank, KNOWN))

    def test_all_are_answered_in_their_order(self, handlers: Handlers) -> None:
        batch = [ALSO_NEW, BAD, KNOWN, NEW]
        for found, request in zip(answer(handlers.rank, batch), batch, strict=True):
            assert_same(found, answer(handlers.rank, [request])[0])

    def test_a_bad_request_and_a_failing_text_harm_no_other(self, handlers: Handlers) -> None:
        first, refused, failed, prompt, last = answer(handlers.rank, [NEW, BAD, BREAKS, KNOWN, NEW])
        assert isinstance(refused, InvalidRequest)
        assert isinstance(failed, RuntimeError)
        assert "no vector for that" in str(failed)
        for found, request in ((first, NEW), (last, NEW), (prompt, KNOWN)):
            assert_same(found, one(handlers.rank, request))

    def test_each_learns_how_many_of_its_own_texts_were_cut(self, handlers: Handlers) -> None:
        def rank(*texts: str) -> Request:
            return user([], candidate=["x"] * len(texts), candidate_text=texts)

        found = answer(
            handlers.rank, [rank("cut 1", "toy", "cut 1"), rank("toy"), rank("cut 2", "cut 1")]
        )
        assert [each["TRUNCATED"].tolist() for each in found if isinstance(each, Mapping)] == [
            [[1]], [[0]], [[2]],
        ]  # fmt: skip


def test_a_profile_is_heeded(handlers: Handlers) -> None:
    def logits(**columns: Any) -> NDArray[Any]:
        return one(handlers.rank, user(["i1"], candidate=EVERYTHING, **columns))["LOGIT"]

    without = logits()
    np.testing.assert_array_equal(logits(profile=["{}"]), without)
    told = logits(profile=['{"age": 40, "gender": "F"}'])
    state = CATALOGUE.profile[[0, 1], [2, 1]].sum(0) - CATALOGUE.profile[:, 0].sum(0)
    np.testing.assert_allclose(told - without, [CATALOGUE.vectors @ state], rtol=1e-3, atol=1e-4)


def test_times_and_actions_are_heeded(handlers: Handlers) -> None:
    answers = [
        one(handlers.rank, user(["i1", "i2"], candidate=["i3"], **columns))["LOGIT"].item()
        for columns in ({}, {"times": [0, 60]}, {"history_action": ["view", "view"]})
    ]
    assert len(set(answers)) == 3


def test_recommend_takes_texts_too(handlers: Handlers) -> None:
    request = user(["x", "i1"], history_text=["toy", ""])
    (later,) = handlers.recommend([request])
    assert isinstance(later, Later)
    (found,) = handlers.recommend.finish([later])
    assert isinstance(found, Mapping)
    assert found["ITEM"].shape == (1, 10)
    assert found["ITEM"].tolist() != one(handlers.recommend, user(["i1"]))["ITEM"].tolist()


class TestRowsOfVectors:
    """The second half of ``rank``, whose texts are encoded by then."""

    @pytest.mark.parametrize("history", [["toy", "story", "toy"], []])
    def test_it_answers_as_rank_does(self, handlers: Handlers, history: list[str]) -> None:
        candidates, texts = ["cats", "toy"], ["toy", "story", "cats"]
        columns: dict[str, Any] = {
            "history_action": ["view", "", "view"][: len(history)],
            "times": [0, 5, 70][: len(history)],
            "profile": ['{"age": 3}'],
        }
        whole = one(
            handlers.rank,
            user(
                ["x"] * len(history), history_text=history,
                candidate=["x"] * 2, candidate_text=candidates, **columns,
            ),
        )  # fmt: skip
        rows = {
            name: np.array([[texts.index(text) for text in each]], np.int32).reshape(1, -1)
            for name, each in (
                (contract.HISTORY_ROW.name, history),
                (contract.CANDIDATE_ROW.name, candidates),
            )
        }
        given = {**user([], **columns).tensors, **rows}
        del given["HISTORY"]
        found = handlers.rank.answer_rows(Request(given), CountedTexts()(texts).vectors)
        for name in ("LOGIT", "INTEREST"):
            np.testing.assert_allclose(found[name], whole[name], rtol=1e-5, atol=1e-6)

    def test_what_is_wrong_is_refused(self, handlers: Handlers) -> None:
        tensors = {
            contract.HISTORY_ROW.name: np.zeros((1, 1), np.int32),
            contract.CANDIDATE_ROW.name: np.zeros((1, 1), np.int32),
            "HISTORY_ACTION": strings(["a", "b"]),
        }
        with pytest.raises(InvalidRequest, match="HISTORY_ACTION has 2 values"):
            handlers.rank.answer_rows(Request(tensors), CountedTexts()(["toy"]).vectors)


def assert_same(found: object, expected: object) -> None:
    """Equal but for rounding, and where two items score all but alike."""
    if isinstance(expected, Exception):
        assert type(found) is type(expected)
        assert str(found) == str(expected)
        return
    assert isinstance(found, Mapping)
    assert isinstance(expected, Mapping)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        if values.dtype == np.float32:
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)
        elif name != "ITEM":
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    if "ITEM" in expected:
        # By their logits: their places are worth nothing where these are alike.
        for one_way, other in ((found, expected), (expected, found)):
            scores = dict(zip(other["ITEM"][0], other["LOGIT"][0], strict=True))
            least = min(scores.values(), default=np.inf)
            for item, logit in zip(one_way["ITEM"][0], one_way["LOGIT"][0], strict=True):
                assert abs(scores.get(item, least) - logit) < 1e-3


# Few enough that ids and texts meet often.
ids = st.sampled_from([*EVERYTHING[:8], "x", "y"])
texts = st.sampled_from(["", " ", "toy", "story", "cut it", "breaks", "a film", "z"])
PARAMETERS: Sequence[dict[str, object]] = (
    {}, {}, {"on_unknown": "skip"}, {"top_k": 3}, {"top_k": 99}, {"include_seen": True},
    {"new_items": 2}, {"new_items": 7, "top_k": 12}, {"top_q": 1},
)  # fmt: skip


@st.composite
def users(draw: st.DrawFn, model: str) -> Request:
    events = draw(st.lists(st.tuples(ids, texts, st.integers(0, 99)), max_size=9))
    others = draw(st.lists(st.tuples(ids, texts), max_size=7))
    columns: dict[str, Any] = {}
    if draw(st.booleans()):
        columns["history_text"] = [text for _, text, _ in events]
    if draw(st.booleans()):
        columns["times"] = sorted(time for _, _, time in events)
        columns["history_action"] = ["view" if time % 2 else "" for _, _, time in events]
    if draw(st.booleans()):
        columns["profile"] = [draw(st.sampled_from(["", '{"age": 31}', '{"gender": "M"}', "{"]))]
    if model == "rank":
        columns["candidate"] = [item for item, _ in others]
        columns["candidate_text"] = [text for _, text in others]
    else:
        columns["exclude"] = [item for item, _ in others]
    parameters = draw(st.sampled_from(PARAMETERS))
    return user([item for item, _, _ in events], parameters=parameters, **columns)


@pytest.mark.parametrize("rank", [2, 5])
def test_the_best_new_item_comes_at_the_rank_that_is_asked_for(
    handlers: Handlers, rank: int
) -> None:
    """Whether or not the model moves them, and whoever asks beside."""
    cold = {f"i{number}".encode() for number in CATALOGUE.cold}
    for own in (0, 9):
        low = replace(CATALOGUE, cold_rank=own, bias=CATALOGUE.bias.copy())
        low.bias[low.cold] -= 50
        recommend = Recommend(READER, Scorer(low, EventSums()), handlers.texts)
        asked: Sequence[dict[str, object]] = ({"new_items": rank}, {}, {"new_items": 0})
        found = answer(recommend, [user(["i1"], parameters=each) for each in asked])
        lists = [each["ITEM"][0].tolist() for each in found if not isinstance(each, Exception)]
        first = [
            next((place for place, item in enumerate(each, 1) if item in cold), None)
            for each in lists
        ]
        assert first == [rank, own or None, own or None]


@pytest.mark.parametrize("model", ["rank", "recommend"])
@given(data=st.data())
def test_a_batch_answers_each_request_as_if_it_came_alone(model: str, data: st.DataObject) -> None:
    handler: UserHandler = getattr(Handlers(), model)
    batch = data.draw(st.lists(users(model), max_size=6))
    together: Sequence[Outcome] = answer(handler, batch)
    for found, request in zip(together, batch, strict=True):
        (alone,) = answer(handler, [request])
        assert isinstance(alone, (dict, InvalidRequest, RuntimeError))
        assert_same(found, alone)


class NoTexts:
    """A model for texts that does not answer."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        self.calls += 1
        raise Unavailable(f"encode is not available, {texts}")


SKIPS = {"on_unknown": "skip"}


class TestTextsThatCannotBeEncoded:
    def test_requests_of_known_items_go_on_and_the_others_say_why(self) -> None:
        texts = NoTexts()
        handler = Rank(READER, Scorer(CATALOGUE, EventSums()), texts)
        known, new, also_new = answer(handler, [KNOWN, NEW, ALSO_NEW])
        assert_same(known, answer(handler, [KNOWN])[0])
        for outcome in (new, also_new):
            assert isinstance(outcome, Unavailable)
            assert "'skip' to go on without the texts" in str(outcome)
        assert texts.calls == 1  # whoever waits for a model that is not there waits once

    def test_a_request_that_skips_what_is_unknown_goes_on_without_them(self) -> None:
        handler = Rank(READER, Scorer(CATALOGUE, EventSums()), NoTexts())
        with_texts = user(
            ["i1", "y", "i2"],
            history_text=["", "toy", ""],
            candidate=["x", "i4"],
            candidate_text=["story", ""],
            parameters=SKIPS,
        )
        new, late = answer(handler, [with_texts, NEW])
        without = user(["i1", "y", "i2"], candidate=["x", "i4"], parameters=SKIPS)
        assert_same(new, answer(handler, [without])[0])
        assert not isinstance(new, Exception)
        assert new["SKIPPED"].tolist() == [[1]]
        assert np.isnan(new["LOGIT"][0]).tolist() == [True, False]
        assert isinstance(late, Unavailable)


class NoStates(EventSums):
    """A network over users that fails; of an event on item i5 alone where ``only`` is set."""

    def __init__(self, error: Exception, *, only: bool = False) -> None:
        super().__init__()
        self._error = error
        self._only = CATALOGUE.vectors[5] if only else None

    def __call__(self, batches: Sequence[EventBatch]) -> list[Floats]:
        if self._only is None or any((b.vectors == self._only).all(-1).any() for b in batches):
            raise self._error
        return super().__call__(batches)


POPULAR = replace(CATALOGUE, popular=np.array([4, 2, 9, 7], np.int32))
GONE = Unavailable("user_encoder is not available")


class TestUsersThatCannotBeEncoded:
    def recommend(
        self, encoder: EventSums, told: Callable[[int, Exception], None], *, popular: bool = True
    ) -> Recommend:
        scorer = Scorer(POPULAR if popular else CATALOGUE, encoder)
        return Recommend(READER, scorer, CountedTexts(), Observer(fell_back=told))

    @pytest.mark.parametrize("error", [GONE, RuntimeError("out of memory")])
    def test_they_get_popular_items_and_are_told(self, error: Exception) -> None:
        counted: list[int] = []
        handler = self.recommend(NoStates(error), lambda number, _: counted.append(number))
        batch = [user(["i2"], parameters={"top_k": 2}), user(["x"], exclude=["i4", "i7"])]
        first, second = answer(handler, batch)
        assert not isinstance(first, Exception)
        always = {spec.name for spec in contract.RECOMMEND.outputs if not spec.optional}
        assert first.keys() == always | {contract.FALLBACK.name}
        assert first["ITEM"].tolist() == [[b"i4", b"i9"]]
        assert first["FALLBACK"].tolist() == [[1]]
        assert first["FALLBACK"].dtype == np.int32
        for name in ("LOGIT", "INTEREST"):
            assert first[name].dtype == np.float32
            assert first[name].shape == (1, 2)
            assert np.isnan(first[name]).all()
        assert not isinstance(second, Exception)
        assert second["ITEM"].tolist() == [[b"i2", b"i9"]]
        assert second["SKIPPED"].tolist() == [[1]]
        assert sum(counted) == 2

    def test_only_those_whose_own_states_fail(self) -> None:
        counted: list[int] = []
        broken = NoStates(RuntimeError("no state"), only=True)
        handler = self.recommend(broken, lambda number, _: counted.append(number))
        well, ill = answer(handler, [user(["i1"]), user(["i5"])])
        assert not isinstance(well, Exception)
        assert not isinstance(ill, Exception)
        assert "FALLBACK" not in well
        assert ill["FALLBACK"].tolist() == [[1]]
        assert counted == [1]

    def test_without_a_list_they_fail_as_what_failed_does(self) -> None:
        def told(number: int, error: Exception) -> None:
            raise AssertionError(number, error)

        for error, kind in ((GONE, UserEncoderUnavailable), (OSError("x"), UserEncoderFailed)):
            handler = self.recommend(NoStates(error), told, popular=False)
            (outcome,) = answer(handler, [user(["i1"])])
            assert type(outcome) is kind
            assert str(error) in str(outcome)

    def test_a_lack_of_memory_is_no_reason(self) -> None:
        handler = self.recommend(NoStates(MemoryError()), lambda *_: None)
        with pytest.raises(MemoryError):
            answer(handler, [user(["i1"])])

    def test_an_overloaded_network_is_no_reason(self) -> None:
        busy = Overloaded("user_encoder is overloaded")
        handler = self.recommend(NoStates(busy), lambda *_: None)
        assert answer(handler, [user(["i1"])]) == [busy]

    def test_a_ranking_has_no_such_list(self) -> None:
        handler = Rank(READER, Scorer(POPULAR, NoStates(GONE)), CountedTexts())
        (outcome,) = answer(handler, [KNOWN])
        assert isinstance(outcome, UserEncoderUnavailable)
        assert str(outcome).endswith("; call again")
