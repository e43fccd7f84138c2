"""Scores are the same whoever asks, for whatever, and however the best are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import scoring, trend
from model_repository.core.arrays import Floats, Indices
from model_repository.core.catalogue import Candidates, Catalogue
from model_repository.core.cold_items import lifts
from model_repository.core.errors import InvalidRequest
from model_repository.core.item_sets import ItemSet
from model_repository.core.score_terms import NetworkTerm, Users
from model_repository.core.scoring import Scorer
from model_repository.core.trend import Trend, levels
from model_repository.core.users import NO_ITEM, History
from tests.unit.model_repository.catalogues import (
    MAX_HISTORY,
    PROFILE,
    TEXT_WIDTH,
    EventSums,
    catalogue,
)

ITEMS = 30
COLD = (2, 5, 7, 20)
RANKS = (0, 0, 2, 5, 100)
CATALOGUE = catalogue(ITEMS)
WITH_COLD = catalogue(ITEMS, cold=COLD, cold_rank=4)
SCORER = Scorer(CATALOGUE, EventSums())
FRESH = CATALOGUE.neighbourhood.place(
    np.random.default_rng(3).normal(size=(3, TEXT_WIDTH)).astype(np.float32), CATALOGUE.vectors
)

slots = st.one_of(st.integers(0, ITEMS - 1), st.integers(-3, -1))
histories = st.lists(st.lists(slots, max_size=MAX_HISTORY), min_size=1, max_size=4)


def history(of: Sequence[int]) -> History:
    return History(
        np.array(of, np.int32), np.zeros(len(of), np.int32), np.arange(len(of))[::-1].copy()
    )


def users(scorer: Scorer, of: Sequence[Sequence[int]]) -> Users:
    return scorer.users([history(each) for each in of], FRESH)


NOW = 1_700_000_000


def trend_of(items: int, events: int) -> Trend:
    """The trend of so many random events in an hour."""
    random = np.random.default_rng(5)
    happened = random.integers(0, items, events).astype(np.int32)
    times = NOW - random.integers(0, 3_600, events)
    return Trend(600.0, 2.0, levels(happened, times, items, 600.0), NOW)


def expected_list(
    scorer: Scorer, asked: Users, user: int, masked: Indices, rank: int = 0
) -> Floats:
    """Logits FP32 [n] that the best are the largest of, from those of the whole catalogue."""
    known = scorer.catalogue
    logits: Floats = scorer.logits(asked)[user]
    logits[masked] = -np.inf
    if len(known.cold):
        ranks = np.array([rank or known.cold_rank], np.int32)
        logits[known.cold] += lifts(logits[np.newaxis], known.cold, ranks)[0]
    return logits


class TestRank:
    @given(histories, st.lists(st.one_of(slots, st.just(NO_ITEM)), max_size=9))
    def test_as_the_whole_catalogue_and_new_items_as_their_neighbours(
        self, of: list[list[int]], candidates: list[int]
    ) -> None:
        asked = users(SCORER, of)
        logits = SCORER.logits(asked)
        new = (logits[:, FRESH.items] * FRESH.weights).sum(2)
        # But for their biases.
        new += FRESH.bias - (CATALOGUE.bias[FRESH.items] * FRESH.weights).sum(1)
        for user in range(len(of)):
            found = SCORER.rank(asked, user, np.array(candidates, np.int32), FRESH)
            expected = [
                np.nan
                if slot == NO_ITEM
                else new[user, -slot - 1]
                if slot < 0
                else logits[user, slot]
                for slot in candidates
            ]
            assert found.logit.dtype == found.interest.dtype == np.float32
            np.testing.assert_allclose(found.logit, expected, rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(
                found.interest, CATALOGUE.calibration.interest(found.logit)
            )

    def test_cold_items_keep_their_logits(self) -> None:
        scorer = Scorer(WITH_COLD, EventSums())
        asked = users(scorer, [[1, 2]])
        found = scorer.rank(asked, 0, np.arange(ITEMS, dtype=np.int32))
        np.testing.assert_allclose(found.logit, scorer.logits(asked)[0], rtol=1e-5, atol=1e-5)

    def test_where_nothing_may_be_a_neighbour_an_item_is_its_text(self) -> None:
        nobody = replace(
            CATALOGUE.neighbourhood,
            items=np.zeros(0, np.int32),
            directions=CATALOGUE.neighbourhood.directions[:0],
        )
        text = np.ones((1, TEXT_WIDTH), np.float32)
        fresh = nobody.place(text, CATALOGUE.vectors)
        centred = text - nobody.text_mean
        vector = centred @ nobody.text_weight + nobody.text_bias
        np.testing.assert_allclose(fresh.vectors, vector, rtol=1e-6)
        asked = users(SCORER, [[3, 4]])
        found = SCORER.rank(asked, 0, np.array([-1], np.int32), fresh)
        np.testing.assert_allclose(found.logit, asked.states @ vector[0], rtol=1e-5)

    def test_a_new_item_stands_at_the_mean_of_its_neighbours(self) -> None:
        mean = np.einsum("rk,rkd->rd", FRESH.weights, CATALOGUE.vectors[FRESH.items])
        np.testing.assert_allclose(FRESH.vectors, mean, rtol=1e-5)
        np.testing.assert_allclose(FRESH.weights.sum(1), 1, rtol=1e-5)


class TestUsers:
    def test_a_profile_adds_its_columns_to_the_state(self) -> None:
        asked = [history([1]), history([2, 3])]
        without = SCORER.users(asked).states
        profiles = np.array([[1, 2], [0, PROFILE[0].ids - 1]], np.int32)
        found = SCORER.users(asked, profiles=profiles).states
        added = [
            sum(CATALOGUE.profile[column, row[column]] for column in (0, 1)) for row in profiles
        ]
        nothing = CATALOGUE.profile[:, 0].sum(0)
        np.testing.assert_allclose(found, without - nothing + added, rtol=1e-5, atol=1e-6)

    def test_the_trend_is_that_of_the_time_of_each_request(self) -> None:
        known = replace(CATALOGUE, trend=trend_of(ITEMS, 50))
        scorer = Scorer(known, EventSums())
        asked = [history([1]), history([1])]
        without = Scorer(CATALOGUE, EventSums()).logits(SCORER.users(asked))
        for times in (None, [0, NOW + 900]):
            rows = [known.trend.at(time) for time in times or [NOW, NOW]]
            users_then = scorer.users(asked, times=times)
            added = scorer.logits(users_then) - without
            for user, row in enumerate(rows):
                assert users_then.trend_of(user).time == row.time
                np.testing.assert_allclose(added[user], row.logits, rtol=1e-4, atol=1e-5)

    def test_some_of_them(self) -> None:
        asked = users(SCORER, [[1], [2], []])
        some = asked[[2, 0]]
        assert len(some) == 2
        np.testing.assert_array_equal(some.states, asked.states[[2, 0]])
        assert [len(each.slots) for each in some.histories] == [0, 1]


class TestBest:
    @given(
        of=histories,
        known=st.sampled_from([CATALOGUE, WITH_COLD]),
        place=st.sampled_from([0, 2, 6, 25]),
        logits_at_once=st.sampled_from([1, 2 * ITEMS, 2**23]),
        data=st.data(),
    )
    def test_the_largest_that_are_not_masked(
        self,
        of: list[list[int]],
        known: Catalogue,
        place: int,
        logits_at_once: int,
        data: st.DataObject,
    ) -> None:
        scorer = Scorer(replace(known, cold_rank=place), EventSums())
        asked = users(scorer, of)
        masked = [
            np.array(data.draw(st.lists(st.integers(0, ITEMS - 1), unique=True)), np.int32)
            for _ in of
        ]
        wanted = [data.draw(st.integers(1, ITEMS + 3)) for _ in of]
        ranks = [data.draw(st.sampled_from(RANKS)) for _ in of]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scoring, "_LOGITS", logits_at_once)
            found = scorer.best(asked, masked, wanted, ranks)
        for user, each in enumerate(found):
            logits = expected_list(scorer, asked, user, masked[user], ranks[user])
            left = min(wanted[user], ITEMS - len(masked[user]))
            expected = np.sort(logits)[::-1][:left]
            assert len(each) == len(set(each.index.tolist())) == left
            assert not set(each.index) & set(masked[user])
            np.testing.assert_allclose(each.logit, expected, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(each.logit, logits[each.index], rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(each.interest, known.calibration.interest(each.logit))
            assert each.index.dtype == np.int32

    def test_equals_come_in_the_order_of_the_catalogue(self) -> None:
        alike = replace(
            CATALOGUE, vectors=np.zeros_like(CATALOGUE.vectors), bias=np.zeros_like(CATALOGUE.bias),
            linear_value=CATALOGUE.linear_value[:, :0], linear_index=CATALOGUE.linear_index[:, :0],
        )  # fmt: skip
        scorer = Scorer(alike, EventSums())
        (found,) = scorer.best(users(scorer, [[1]]), [np.array([0, 3], np.int32)], [4])
        assert found.index.tolist() == [1, 2, 4, 5]

    def test_equals_come_so_whatever_others_ask_of_cold_items(self) -> None:
        alike = replace(
            CATALOGUE, vectors=np.zeros_like(CATALOGUE.vectors), bias=np.zeros_like(CATALOGUE.bias),
            linear_value=CATALOGUE.linear_value[:, :0], linear_index=CATALOGUE.linear_index[:, :0],
            cold=np.array([0, 3], np.int32),
        )  # fmt: skip
        scorer, none = Scorer(alike, EventSums()), np.zeros(0, np.int32)
        found = scorer.best(users(scorer, [[1], [1]]), [none, none], [4, 4], [0, 3])
        assert [each.index.tolist() for each in found] == [[0, 1, 2, 3], [1, 2, 4, 5]]

    @pytest.mark.parametrize("source", [False, True])
    def test_no_number_is_a_fault(self, source: bool) -> None:
        large = catalogue(400)
        scorer = Scorer(large, EventSums(), Nearest(large) if source else None)
        asked = users(scorer, [[1]])
        asked.states[:] = np.nan
        with pytest.raises(FloatingPointError, match="NaN among the logits"):
            scorer.best(asked, [np.zeros(0, np.int32)], [3])

    def test_candidates_know_what_is_known_of_their_items(self) -> None:
        (found,) = SCORER.best(users(SCORER, [[1]]), [np.zeros(0, np.int32)], [5])
        np.testing.assert_array_equal(found.vectors, CATALOGUE.vectors[found.index])
        assert found.attribute("genre") == [f"genre {index % 3}" for index in found.index]
        with pytest.raises(InvalidRequest, match="`--attributes year`"):
            found.attribute("year")
        some = found[np.array([3, 0])]
        assert isinstance(some, Candidates)
        assert some.index.tolist() == found.index[[3, 0]].tolist()
        assert some.logit.tolist() == found.logit[[3, 0]].tolist()
        assert some.interest.tolist() == found.interest[[3, 0]].tolist()
        assert found[found.logit > found.logit[2]].index.tolist() == found.index[:2].tolist()


class Nearest:
    """What the network scores highest, every ``step``-th of it, as long as there is some.

    Attributes
    ----------
    asked
        For how many it was asked each time.
    """

    def __init__(self, known: Catalogue, step: int = 1, most: int = 10**6) -> None:
        self._term = NetworkTerm(known.vectors, known.bias)
        self._step, self._most = step, most
        self.asked: list[int] = []

    def nearest(self, state: Floats, number: int) -> Indices | None:
        self.asked.append(number)
        if number > self._most:
            return None
        order = np.argsort(-self._term.all(Users(state[np.newaxis], []))[0], kind="stable")
        found = order[:: self._step][:number].astype(np.int32)
        return found if len(found) == number else None


LARGE = 400


class TestSource:
    @given(
        of=st.lists(st.lists(st.integers(-3, LARGE - 1), max_size=MAX_HISTORY), max_size=4),
        place=st.sampled_from([0, 2, 5]),
        most=st.sampled_from([0, 12, 10**6]),
        strength=st.sampled_from([-3.0, 0.0, 1.0, 3.0]),
        counted=st.sampled_from([0, 3, 200]),
        data=st.data(),
    )
    def test_what_an_exact_one_finds_is_what_reading_all_finds(
        self,
        of: list[list[int]],
        place: int,
        most: int,
        strength: float,
        counted: int,
        data: st.DataObject,
    ) -> None:
        """Whatever is masked, spoken for or against, or popular: else everything is read."""
        known = catalogue(LARGE, cold=range(0, LARGE, 9), cold_rank=place)
        known = replace(known, trend=trend_of(LARGE, counted))
        known = replace(known, linear_value=strength * np.abs(known.linear_value))
        source = Nearest(known, most=most)
        scorers = [Scorer(known, EventSums(), each) for each in (source, None)]
        asked = users(scorers[0], of)
        wanted = [data.draw(st.sampled_from([1, 3, 10, 60, LARGE])) for _ in of]
        ranks = [data.draw(st.sampled_from(RANKS)) for _ in of]
        order = np.argsort(-scorers[0].logits(asked), axis=1)
        # The very best are masked, so that those behind them are looked for.
        masked = [
            row[: data.draw(st.sampled_from([0, 2, 20, 390]))].astype(np.int32) for row in order
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trend, "_LIFTED", 30)
            answers = [scorer.best(asked, masked, wanted, ranks) for scorer in scorers]
        for user, (found, expected) in enumerate(zip(*answers, strict=True)):
            # Where two are all but equal, either may come first.
            logits = expected_list(scorers[0], asked, user, masked[user], ranks[user])
            assert len(set(found.index.tolist())) == len(found) == len(expected)
            for each in (found.logit, logits[found.index]):
                np.testing.assert_allclose(each, expected.logit, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found.interest, expected.interest, rtol=1e-4, atol=1e-4)

    @given(
        share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
        wanted=st.sampled_from([1, 5, 30]),
        rank=st.sampled_from([0, 3]),
        source=st.booleans(),
        seed=st.integers(0, 20),
    )
    def test_of_allowed_items_the_best_come_as_if_all_others_were_masked(
        self, share: float, wanted: int, rank: int, source: bool, seed: int
    ) -> None:
        """However many they are: few are scored alone, many are sought by the source."""
        known = catalogue(LARGE, cold=range(0, LARGE, 9), cold_rank=rank)
        exact = Scorer(known, EventSums())
        scorer = Scorer(known, EventSums(), Nearest(known) if source else None)
        asked = users(exact, [[1, 2], []])
        allowed = ItemSet(np.random.default_rng(seed).random(LARGE) < share)
        masked = np.array([1, 2], np.int32)
        both = [np.concatenate([masked, allowed.outside]).astype(np.int32)] * 2
        expected = exact.best(asked, both, [wanted] * 2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scoring, "_READ", 60)
            found = scorer.best(asked, [masked] * 2, [wanted] * 2, None, [allowed, None])
        assert len(found[0]) == len(expected[0])
        np.testing.assert_allclose(found[0].logit, expected[0].logit, rtol=1e-4, atol=1e-4)
        assert allowed.member[found[0].index].all()
        assert not set(found[0].index.tolist()) & {1, 2}
        assert len(found[1]) == wanted

    def test_it_is_what_answers_where_it_may(self) -> None:
        """One that misses every other item: nothing falls back in silence."""
        known = catalogue(LARGE)
        known = replace(
            known, linear_value=known.linear_value[:, :0], linear_index=known.linear_index[:, :0]
        )
        source = Nearest(known, step=2)
        scorer, exact = Scorer(known, EventSums(), source), Scorer(known, EventSums())
        asked = users(scorer, [[1, 2], []])
        none = np.zeros(0, np.int32)
        found = scorer.best(asked, [none, none], [10, 5])
        assert source.asked == [20, 10]
        for user, (each, wanted) in enumerate(zip(found, (10, 5), strict=True)):
            (everything,) = exact.best(asked[[user]], [none], [2 * wanted])
            assert len(each) == wanted
            assert each.index.tolist() == everything.index[::2].tolist()

    def test_where_the_best_are_spoken_against_everything_is_read(self) -> None:
        known = catalogue(LARGE)
        source = Nearest(known)
        of = [[7]]
        asked = users(Scorer(known, EventSums()), of)
        best = source.nearest(asked.states[0], 40)
        assert best is not None
        index, value = np.zeros((LARGE, 40), np.int32), np.zeros((LARGE, 40), np.float32)
        index[7], value[7] = best, -50
        known = replace(known, linear_index=index, linear_value=value)
        none = np.zeros(0, np.int32)
        fallbacks: list[int] = []
        found, expected = (
            Scorer(known, EventSums(), each, fallbacks.append).best(asked, [none], [10])[0]
            for each in (source, None)
        )
        assert source.asked == [40, 20]
        assert fallbacks == [1]
        assert found.index.tolist() == expected.index.tolist()
        assert not set(found.index) & set(best)

    @pytest.mark.parametrize(("rank", "scored"), [(0, 0), (20, 0), (3, 45)])
    def test_cold_items_are_looked_at_only_where_they_are_moved(
        self, rank: int, scored: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = catalogue(LARGE, cold=range(0, LARGE, 9))
        scorer, source = Scorer(known, EventSums(), Nearest(known)), Nearest(known)
        asked, none = users(scorer, [[]]), np.zeros(0, np.int32)
        found = source.nearest(asked.states[0], 20)
        assert found is not None
        looked_at: list[int] = []

        def counted(term: NetworkTerm, users: Users, user: int, items: Indices) -> Floats:
            looked_at.append(len(items))
            return of(term, users, user, items)

        of = NetworkTerm.of
        monkeypatch.setattr(NetworkTerm, "of", counted)
        scorer.best(asked, [none], [10], [rank])
        assert looked_at == [20, 20 + scored]

    def test_where_too_many_are_wanted_or_masked_it_is_not_asked(self) -> None:
        source = Nearest(CATALOGUE)
        scorer = Scorer(CATALOGUE, EventSums(), source)
        (few,) = scorer.best(users(scorer, [[1]]), [np.zeros(0, np.int32)], [4])
        assert len(few) == 4
        scorer.best(users(scorer, [[1]]), [np.arange(5, dtype=np.int32)], [1])
        assert source.asked == []

    def test_answers_do_not_depend_on_who_else_asks(self) -> None:
        known = catalogue(LARGE, cold=range(0, LARGE, 9))
        scorer = Scorer(known, EventSums(), Nearest(known, most=25))
        of, ranks = [[1, 2], [], [5, 6, 7, 8], [300]], [0, 2, 5, 0]
        wanted, none = [3, 10, 60, 12], np.zeros(0, np.int32)
        together = scorer.best(users(scorer, of), [none] * 4, wanted, ranks)
        for user, each in enumerate(together):
            (alone,) = scorer.best(users(scorer, [of[user]]), [none], [wanted[user]], [ranks[user]])
            np.testing.assert_array_equal(each.index, alone.index)
            np.testing.assert_allclose(each.logit, alone.logit, rtol=1e-5, atol=1e-5)
