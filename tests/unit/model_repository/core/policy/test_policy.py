"""Which items are recommended, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import contract, policy
from model_repository.core.arrays import Indices
from model_repository.core.batch import Request, Tensors, answer
from model_repository.core.catalogue import Candidates, Catalogue
from model_repository.core.errors import InvalidRequest
from model_repository.core.handler import Recommend
from model_repository.core.identifiers import Identifiers
from model_repository.core.options import Options
from model_repository.core.policy.base import Context, Stage
from model_repository.core.policy.facts import FixedFacts
from model_repository.core.requests import UserRequest
from model_repository.core.scoring import Scorer
from tests.unit.model_repository.catalogues import (
    CountedTexts,
    EventSums,
    catalogue,
    reader,
)
from tests.unit.model_repository.conftest import user

ITEMS = 30
CATALOGUE = replace(catalogue(ITEMS), ids=Identifiers.of([f"ï{number}" for number in range(ITEMS)]))
NAMES = [f"ï{number}" for number in range(ITEMS)]


def recommender(max_top_k: int = 20, known: Catalogue = CATALOGUE) -> Recommend:
    return Recommend(reader(known, max_top_k), Scorer(known, EventSums()), CountedTexts())


RECOMMEND = recommender()


def ask(request: Request, recommend: Recommend = RECOMMEND) -> Tensors:
    (outcome,) = answer(recommend, [request])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def items(request: Request, recommend: Recommend = RECOMMEND) -> list[str]:
    return [item.decode() for item in ask(request, recommend)["ITEM"][0]]


def test_the_outputs_are_those_of_the_contract() -> None:
    found = ask(user(["ï7", "unknown"], parameters={"top_k": 2}))
    dtypes = {"BYTES": np.object_, "FP32": np.float32, "INT32": np.int32}
    outputs = [spec for spec in contract.RECOMMEND.outputs if not spec.optional]
    assert found.keys() == {spec.name for spec in outputs}
    for spec in outputs:
        assert found[spec.name].dtype == dtypes[spec.dtype]
        assert found[spec.name].shape == tuple({"k": 2}.get(str(axis), axis) for axis in spec.dims)
    assert all(type(item) is bytes and item.decode() in NAMES for item in found["ITEM"][0])
    expected = CATALOGUE.calibration.interest(found["LOGIT"])
    np.testing.assert_array_equal(found["INTEREST"], expected)
    assert found["SKIPPED"].tolist() == [[1]]


def test_ten_unless_told_otherwise() -> None:
    assert len(items(user(["ï1"]))) == 10


def test_what_was_seen_is_left_out_unless_it_may_be_there() -> None:
    history = NAMES[:10]  # more than the network reads
    assert not set(items(user(history, parameters={"top_k": 20}))) & set(history)
    everything = items(
        user(history, parameters={"top_k": 30, "include_seen": True}), recommender(30)
    )
    assert sorted(everything) == sorted(NAMES)


def test_what_is_named_is_left_out_whether_it_was_seen_or_not() -> None:
    for seen in (False, True):
        parameters = {"top_k": 20, "include_seen": seen}
        request = user(["ï1"], exclude=[*NAMES[10:], "ï1", "unknown"], parameters=parameters)
        assert sorted(items(request)) == sorted({*NAMES[:10]} - {"ï1"})


def test_masked_items_never_fill_up() -> None:
    assert len(items(user(NAMES[:25], parameters={"top_k": 20}))) == 5
    found = ask(user(NAMES))
    assert found["ITEM"].shape == found["LOGIT"].shape == found["INTEREST"].shape == (1, 0)


@given(st.permutations(NAMES), st.integers(0, ITEMS), st.integers(1, 20))
def test_k_whenever_k_exist(order: Sequence[str], excluded: int, top_k: int) -> None:
    request = user(order[:2], exclude=order[:excluded], parameters={"top_k": top_k})
    found = items(request)
    assert len(found) == min(top_k, ITEMS - max(2, excluded))
    assert not set(found) & set(order[: max(2, excluded)])
    without = user(order[:2], parameters={"include_seen": True, "top_k": ITEMS})
    everything = items(without, recommender(ITEMS))
    left = [each for each in everything if each not in order[: max(2, excluded)]]
    assert found == left[:top_k]


def test_more_than_the_model_was_exported_for_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"at most 20 items.*builder export --max-top-k 21"):
        items(user([], parameters={"top_k": 21}))


def test_more_than_there_are_is_everything_where_the_catalogue_is_ranked() -> None:
    assert len(items(user([], parameters={"top_k": 10**6}), recommender(ITEMS))) == ITEMS


def test_one_bad_request_is_refused_alone() -> None:
    bad = user([], parameters={"top_k": 0})
    outcomes = RECOMMEND([user(["ï1"]), bad, user(["ï2"])])
    assert [isinstance(outcome, InvalidRequest) for outcome in outcomes] == [False, True, False]


def test_nan_is_a_fault_of_one_request_and_not_an_empty_answer() -> None:
    vectors = CATALOGUE.vectors.copy()
    vectors[3] = np.nan
    broken = recommender(known=replace(CATALOGUE, vectors=vectors))
    outcomes = broken([user([], exclude=["ï3"]), user(["ï2"])])
    assert not isinstance(outcomes[0], Exception)
    assert isinstance(outcomes[1], FloatingPointError)
    assert "NaN" in str(outcomes[1])


class Diverse(Stage):
    """Reads more candidates than are wanted, and takes the best of each genre first.

    Never recommends the items ``hidden``.
    """

    def __init__(self, hidden: Sequence[int] = ()) -> None:
        self.hidden = np.array(hidden, np.int32)
        self.given: list[Candidates] = []
        self.requests: list[UserRequest] = []

    def masked(self, context: Context) -> Indices:
        assert context.catalogue is CATALOGUE
        return self.hidden

    def wanted(self, context: Context) -> int:
        top_k: int = context.options["top_k"]
        return 3 * top_k

    def rerank(self, candidates: Candidates, context: Context) -> Candidates:
        self.given.append(candidates)
        self.requests.append(context.request)
        assert context.user is not None
        assert len(context.user) == 1
        genres = candidates.attribute("genre")
        first = [genres.index(genre) for genre in dict.fromkeys(genres)]
        rest = np.setdiff1d(np.arange(len(candidates)), first)
        return candidates[np.concatenate([first, rest]).astype(int)]


def use(monkeypatch: pytest.MonkeyPatch, *stages: Stage) -> None:
    monkeypatch.setattr(policy, "STAGES", (*policy.STAGES, *stages))


class TestReranker:
    @pytest.mark.parametrize("top_k", [2, 5])
    def test_it_chooses_among_more_candidates_of_which_all_is_known(
        self, monkeypatch: pytest.MonkeyPatch, top_k: int
    ) -> None:
        request = user(["ï1", "ï2"], parameters={"top_k": top_k})
        plain = ask(user(["ï1", "ï2"], parameters={"top_k": 3 * top_k}))
        stage = Diverse()
        use(monkeypatch, stage)
        found = ask(request)
        (given,) = stage.given
        assert [NAMES[index].encode() for index in given.index] == plain["ITEM"][0].tolist()
        np.testing.assert_array_equal(given.logit, plain["LOGIT"][0])
        np.testing.assert_array_equal(given.interest, plain["INTEREST"][0])
        np.testing.assert_array_equal(given.vectors, CATALOGUE.vectors[given.index])
        genres = given.attribute("genre")
        assert genres == [f"genre {index % 3}" for index in given.index]
        (read,) = stage.requests
        assert read.history.slots.tolist() == read.seen.tolist() == [1, 2]
        # What it makes of them is cut to what was asked for, each with its own scores.
        scores = dict(zip(plain["ITEM"][0], plain["LOGIT"][0], strict=True))
        order = sorted(
            range(len(genres)), key=lambda place: (genres.index(genres[place]) != place, place)
        )
        expected = [plain["ITEM"][0][place] for place in order[:top_k]]
        assert found["ITEM"][0].tolist() == expected
        assert found["LOGIT"][0].tolist() == [scores[item] for item in expected]
        np.testing.assert_array_equal(
            found["INTEREST"], CATALOGUE.calibration.interest(found["LOGIT"])
        )

    def test_what_it_masks_is_gone_before_candidates_are_sought(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        history, parameters = ["ï1"], {"top_k": 8}
        best = [NAMES.index(item) for item in items(user(history, parameters=parameters))]
        stage = Diverse(hidden=best)
        use(monkeypatch, stage)
        found = items(user(history, parameters=parameters))
        assert len(found) == 8
        assert not {NAMES.index(item) for item in found} & {*best, 1}
        (given,) = stage.given
        assert len(given) == ITEMS - len(best) - 1  # 24 are asked for, and so many are left
        assert not set(given.index.tolist()) & {*best, 1}

    def test_stages_rerank_in_their_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Backwards(Stage):
            def rerank(self, candidates: Candidates, context: Context) -> Candidates:  # noqa: ARG002
                return candidates[::-1]

        class Fewer(Stage):
            def rerank(self, candidates: Candidates, context: Context) -> Candidates:  # noqa: ARG002
                return candidates[:2]

        request = user(["ï1"], parameters={"top_k": 3})
        best = items(request)
        use(monkeypatch, Backwards(), Fewer())
        assert items(request) == best[::-1][:2]

    def test_one_that_a_request_does_not_ask_for_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class NotForNew(Diverse):
            def applies(self, options: Options) -> bool:
                return bool(options["on_unknown"] == "skip")

        stage = NotForNew(hidden=range(ITEMS))
        before = items(user(["ï1"]))
        use(monkeypatch, stage)
        assert items(user(["ï1"])) == before
        assert not stage.given
        assert items(user(["ï1"], parameters={"on_unknown": "skip"})) == []
        assert stage.given

    def test_a_fault_of_its_own_is_one_of_its_request_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Faulty(Stage):
            def rerank(self, candidates: Candidates, context: Context) -> Candidates:
                if 7 in context.request.seen:
                    raise ZeroDivisionError
                return candidates

        use(monkeypatch, Faulty())
        good, failed = RECOMMEND([user(["ï1"]), user(["ï7"])])
        assert isinstance(failed, ZeroDivisionError)
        assert not isinstance(good, Exception)


def test_a_mask_names_what_was_seen_and_what_is_left_out() -> None:
    read = reader(CATALOGUE, max_top_k=5).read(user(["ï3", "ï1", "ï3"], exclude=["ï1", "ï9"]))
    plan = policy.plan(read, CATALOGUE, FixedFacts(CATALOGUE).current())
    assert plan.masked.dtype == np.int32
    assert set(plan.masked.tolist()) == {1, 3, 9}
    assert plan.allowed is None
    assert plan.wanted == 5
