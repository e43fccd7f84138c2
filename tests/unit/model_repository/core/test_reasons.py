"""Why an item is recommended: which events are named, and what its logit is made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import contract
from model_repository.core.arrays import Floats
from model_repository.core.batch import Tensors, answer
from model_repository.core.catalogue import Catalogue
from model_repository.core.errors import Overloaded, Unavailable, UserEncoderFailed
from model_repository.core.handler import EncodedTexts, Rank, Recommend
from model_repository.core.items import NO_NEW_ITEMS
from model_repository.core.reasons import (
    EVENTS,
    NAMED,
    event_effects,
    latest_of_each,
    only,
    strongest,
)
from model_repository.core.scoring import Scorer
from model_repository.core.trend import Trend
from model_repository.core.users import NO_AGE, EventBatch, History
from model_repository.core.word_effects import MOST_TEXTS
from tests.unit.model_repository.catalogues import (
    CountedTexts,
    EventSums,
    catalogue,
    reader,
)
from tests.unit.model_repository.conftest import user

ITEMS = 30
NOW = 1_700_000_000
PLAIN = catalogue(ITEMS)
COLD = replace(
    catalogue(ITEMS, cold=(3, 9, 14), cold_rank=3),
    trend=Trend(3_600.0, 1.0, NOW / 3_600 - np.linspace(0, 2, ITEMS), NOW),
    cold_neighbours=np.array([[5, 6], [7, 8], [1, 2]], np.int32),
)
EXPLAIN = {"explain": True}


def recommender(known: Catalogue = PLAIN, encode: EventSums | None = None) -> Recommend:
    return Recommend(reader(known, 20), Scorer(known, encode or EventSums()), CountedTexts())


def ask(recommend: Recommend, history: list[str], **tensors: Any) -> Tensors:
    (found,) = answer(recommend, [user(history, **tensors)])
    if isinstance(found, Exception):
        raise found
    return found


def reasons(found: Tensors) -> list[dict[str, Any]]:
    row = found[contract.REASON.name]
    assert row.shape == (1, found["ITEM"].shape[1])
    assert row.dtype == np.object_
    return [json.loads(each) for each in row[0]]


def history(*slots: int) -> History:
    return History(
        np.array(slots, np.int32), np.zeros(len(slots), np.int32), np.full(len(slots), NO_AGE)
    )


def test_none_are_given_that_are_not_asked_for() -> None:
    encode = EventSums()
    assert contract.REASON.name not in ask(recommender(encode=encode), ["i1", "i2"])
    assert encode.shapes == [(1, 2)]


def test_what_is_recommended_is_the_same_with_reasons() -> None:
    plain, explained = (
        ask(recommender(COLD), ["i1", "i2"], parameters=each) for each in ({}, EXPLAIN)
    )
    assert explained.keys() - plain.keys() == {contract.REASON.name}
    for name, values in plain.items():
        np.testing.assert_array_equal(explained[name], values)


def test_an_event_speaks_for_what_it_brings_to_a_user_who_did_nothing_else() -> None:
    found = reasons(ask(recommender(), ["i1", "unknown", "i2", "i4"], parameters=EXPLAIN))
    scorer = Scorer(PLAIN, EventSums())
    alone = scorer.logits(scorer.users([history(1), history(2), history(4)]))
    nobody = scorer.logits(scorer.users([history()]))[0]
    items = ask(recommender(), ["i1", "unknown", "i2", "i4"])["ITEM"][0]
    named = 0
    for item, reason in zip(items, found, strict=True):
        effects = alone[:, int(item[1:])] - nobody[int(item[1:])]
        expected = [
            (place, name, effect)
            for effect, place, name in sorted(
                zip(effects, (0, 2, 3), ("i1", "i2", "i4"), strict=True), reverse=True
            )
            if effect > 0
        ]
        events = [(each["place"], each["id"]) for each in reason["events"]]
        assert events == [(place, name) for place, name, _ in expected]
        np.testing.assert_allclose(
            [each["effect"] for each in reason["events"]],
            [effect for _, _, effect in expected],
            atol=1e-4,
        )
        named += len(events)
    assert 0 < named < 3 * len(found)


def test_a_profile_and_the_time_change_no_effect() -> None:
    asked = {"profile": ['{"age": 24}'], "parameters": {**EXPLAIN, "time": NOW + 9_999}}
    effects = [
        {
            item: [(each["id"], pytest.approx(each["effect"], abs=1e-3)) for each in one["events"]]
            for item, one in zip(found["ITEM"][0], reasons(found), strict=True)
        }
        for found in (
            ask(recommender(COLD), ["i1", "i2"], **asked),
            ask(recommender(COLD), ["i1", "i2"], parameters=EXPLAIN),
        )
    ]
    both = effects[0].keys() & effects[1].keys()
    assert both
    assert {item: effects[0][item] for item in both} == {item: effects[1][item] for item in both}


def test_the_parts_are_the_logit() -> None:
    known = replace(COLD, text_part=COLD.vectors / 3)
    for each in (COLD, known):
        profile = ['{"age": 24}']
        found = ask(recommender(each), ["i1", "i2"], profile=profile, parameters=EXPLAIN)
        told = [reason["terms"] for reason in reasons(found)]
        np.testing.assert_allclose(
            [sum(terms.values()) for terms in told], found["LOGIT"][0], atol=1e-3
        )
        names = set().union(*told)
        network = {"text", "residual", "bias"} if len(each.text_part) else {"network"}
        assert names == network | {"linear", "trend", "moved"}


def test_what_the_text_says_is_told_apart() -> None:
    known = replace(PLAIN, text_part=PLAIN.vectors / 3)
    found = ask(recommender(known), ["i1"], parameters=EXPLAIN)
    for item, reason in zip(found["ITEM"][0], reasons(found), strict=True):
        terms = reason["terms"]
        assert terms["residual"] == pytest.approx(2 * terms["text"], abs=1e-3)
        assert terms["bias"] == pytest.approx(float(PLAIN.bias[int(item[1:])]), abs=1e-4)


def test_a_cold_item_tells_its_neighbours_and_how_far_it_was_moved() -> None:
    found = ask(recommender(COLD), ["i1", "i2"], parameters=EXPLAIN)
    cold = {"i3": ["i5", "i6"], "i9": ["i7", "i8"], "i14": ["i1", "i2"]}
    told = {
        item.decode(): reason for item, reason in zip(found["ITEM"][0], reasons(found), strict=True)
    }
    assert told.keys() & cold.keys()
    assert {item: each.get("neighbours") for item, each in told.items()} == {
        item: cold.get(item) for item in told
    }
    best = next(item for item in told if item in cold)
    assert told[best]["terms"]["moved"] > 0
    assert not [item for item in told.keys() - cold.keys() if "moved" in told[item]["terms"]]


def test_an_event_of_a_text_is_named_by_its_place() -> None:
    found = ask(
        recommender(),
        ["x", "i1", "y"],
        history_text=["toy", "", "story"],
        parameters={**EXPLAIN, "top_k": 20},
    )
    events = [event for reason in reasons(found) for event in reason["events"]]
    by_place = {event["place"]: event.get("id") for event in events}
    assert by_place == {0: None, 1: "i1", 2: None}


def test_without_the_texts_of_a_history_the_other_events_keep_their_places() -> None:
    def breaks(texts: Sequence[str]) -> EncodedTexts:
        raise Unavailable(f"no encoder for {texts}")

    recommend = Recommend(reader(PLAIN, 20), Scorer(PLAIN, EventSums()), breaks)
    found = ask(
        recommend,
        ["x", "i1"],
        history_text=["toy", ""],
        parameters={**EXPLAIN, "on_unknown": "skip"},
    )
    events = [event for reason in reasons(found) for event in reason["events"]]
    assert {(event["place"], event["id"]) for event in events} == {(1, "i1")}


def test_a_longer_history_is_named_by_its_own_places() -> None:
    past = [f"i{number}" for number in range(12)]  # the network reads six
    found = ask(recommender(), past, parameters={**EXPLAIN, "include_seen": True})
    events = [event for reason in reasons(found) for event in reason["events"]]
    assert events
    assert all(event["id"] == past[event["place"]] for event in events)
    assert min(event["place"] for event in events) >= 6


def test_a_new_user_has_no_events_and_all_the_parts() -> None:
    found = reasons(ask(recommender(), [], parameters=EXPLAIN))
    assert [reason["events"] for reason in found] == [[]] * 10
    assert all(reason["terms"] for reason in found)


def test_no_items_have_no_reasons() -> None:
    everything = [f"i{number}" for number in range(ITEMS)]
    assert reasons(ask(recommender(), everything, parameters=EXPLAIN)) == []


@given(st.lists(st.integers(0, 20), max_size=3 * EVENTS))
def test_of_each_item_the_latest_event_is_looked_at(slots: list[int]) -> None:
    found = latest_of_each(history(*slots)).tolist()
    last = {slot: place for place, slot in enumerate(slots)}
    assert found == sorted(last.values())[-EVENTS:]


def test_no_more_events_are_looked_at_than_that() -> None:
    assert latest_of_each(history(*range(EVENTS + 7))).tolist() == list(range(7, EVENTS + 7))


def test_the_strongest_come_first_and_none_that_speaks_against() -> None:
    assert strongest(np.array([0.1, 0.5, -1, 0.3, 0.2], np.float32)).tolist() == [1, 3, 4]
    assert len(strongest(np.ones(9, np.float32))) == NAMED
    assert strongest(np.array([-0.1, 0, 0.2], np.float32)).tolist() == [2]
    assert strongest(np.zeros(0, np.float32)).tolist() == []


def test_two_events_that_say_the_same_both_speak() -> None:
    vectors = PLAIN.vectors.copy()
    vectors[2] = vectors[1]
    scorer = Scorer(replace(PLAIN, vectors=vectors, linear_value=PLAIN.decay[:0]), EventSums())
    past = history(1, 2, 7)
    effects = event_effects(scorer, past, np.arange(3), np.array([4, 5]), NO_NEW_ITEMS)
    np.testing.assert_allclose(effects[0], effects[1], atol=1e-5)
    assert np.abs(effects[0] - effects[2]).max() > 0.1


def test_a_part_of_a_history_keeps_what_was_done_and_when() -> None:
    past = History(*(np.arange(4, dtype=each) for each in ("i4", "i4", "i8")))
    part = only(past, [1, 3])
    assert [each.tolist() for each in (part.slots, part.actions, part.ages)] == [[1, 3]] * 3


class FailsLater(EventSums):
    """Encodes users of requests, and none of those that reasons ask for."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def _states(self, batch: EventBatch) -> Floats:
        if self.batches:
            raise self.error
        return super()._states(batch)


@pytest.mark.parametrize("error", [Overloaded("too much"), UserEncoderFailed("gone")])
def test_the_list_comes_without_reasons_where_the_network_fails_meanwhile(
    error: Exception,
) -> None:
    found = ask(recommender(encode=FailsLater(error)), ["i1"], parameters=EXPLAIN)
    assert contract.REASON.name not in found
    assert found["ITEM"].shape == (1, 10)


class Fails(EventSums):
    def _states(self, batch: EventBatch) -> Floats:
        raise ValueError(f"no network for {batch}")


def test_a_list_that_is_the_same_for_all_says_so() -> None:
    known = replace(PLAIN, popular=np.arange(5, dtype=np.int32))
    recommend = recommender(known, Fails())
    found = ask(recommend, ["i1"], parameters=EXPLAIN)
    assert reasons(found) == [{"fallback": True}] * 4
    assert contract.REASON.name not in ask(recommend, ["i1"])


WORDS = {"history_text": ["toy story", "", "boat"], "parameters": EXPLAIN}


def test_an_event_of_a_text_tells_the_words_that_count() -> None:
    """Those without which the event would speak less for the item."""
    found = ask(recommender(), ["x", "i1", "y"], **WORDS)
    scorer, texts = Scorer(PLAIN, EventSums()), ["toy story", " story", "toy ", "boat", ""]
    fresh = PLAIN.neighbourhood.place(CountedTexts()(texts).vectors, PLAIN.vectors)
    alone = scorer.logits(scorer.users([history(-row - 1) for row in range(5)], fresh))
    lost = {
        "toy": alone[0] - alone[1],
        "story": alone[0] - alone[2],
        "boat": alone[3] - alone[4],
    }
    of_place, told = {0: ["toy", "story"], 1: [], 2: ["boat"]}, 0
    for item, reason in zip(found["ITEM"][0], reasons(found), strict=True):
        for event in reason["events"]:
            effects = {word: lost[word][int(item[1:])] for word in of_place[event["place"]]}
            due = sorted((-effect, word) for word, effect in effects.items() if effect > 1e-3)
            words = event.get("words", [])
            assert [each["word"] for each in words] == [word for _, word in due]
            np.testing.assert_allclose(
                [each["effect"] for each in words], [-each for each, _ in due], atol=1e-3
            )
            assert ("words" in event) == (event["place"] != 1)
            told += len(words)
        assert "words" not in reason
    assert told > 3


def test_texts_are_encoded_again_for_reasons_alone() -> None:
    recommend = recommender()
    ask(recommend, ["x", "i1"], history_text=["toy story", ""])
    texts = recommend._encode_texts
    assert isinstance(texts, CountedTexts)
    assert texts.asked == [["toy story"]]
    ask(recommend, ["i2", "i1"], parameters=EXPLAIN)
    # A query is no item, and so has no words of its own.
    ask(recommend, ["i2"], parameters={**EXPLAIN, "query": "boat"})
    assert texts.asked == [["toy story"], ["boat"]]
    ask(recommend, ["x", "i1"], history_text=["toy story", ""], parameters=EXPLAIN)
    assert texts.asked[2:] == [["toy story"], [" story", "toy "]]


def ranked(**asked: Any) -> Tensors:
    rank = Rank(reader(PLAIN, 20, max_rows=20), Scorer(PLAIN, EventSums()), CountedTexts())
    (found,) = answer(rank, [user(["i1", "i2", "i5"], **asked)])
    if isinstance(found, Exception):
        raise found
    return found


CANDIDATES = {
    "candidate": ["i4", "x", "gone", "i4", "y"],
    "candidate_text": ["", "toy story", "", "", "toy story"],
}


def test_a_ranked_item_has_its_reason_and_a_text_its_words() -> None:
    asked = {"on_unknown": "skip"}
    plain = ranked(**CANDIDATES, parameters=asked)
    assert contract.REASON.name not in plain
    found = ranked(**CANDIDATES, parameters={**asked, **EXPLAIN})
    np.testing.assert_array_equal(found["LOGIT"], plain["LOGIT"])
    known, text, skipped, *again = (json.loads(each) for each in found["REASON"][0])
    assert again == [known, text]
    assert skipped == {}
    assert "words" not in known
    for reason, logit in ((known, found["LOGIT"][0, 0]), (text, found["LOGIT"][0, 1])):
        assert sum(reason["terms"].values()) == pytest.approx(logit, abs=1e-3)
        assert reason["events"]
    assert set(text["terms"]) == {"text", "bias", "linear"}
    scorer = Scorer(PLAIN, EventSums())
    texts = ["toy story", " story", "toy "]
    fresh = PLAIN.neighbourhood.place(CountedTexts()(texts).vectors, PLAIN.vectors)
    slots = np.array([-1, -2, -3], np.int32)
    logits = scorer.rank(scorer.users([history(1, 2, 5)]), 0, slots, fresh).logit
    effects = {"toy": logits[0] - logits[1], "story": logits[0] - logits[2]}
    assert {each["word"]: each["effect"] for each in text["words"]} == {
        word: pytest.approx(effect, abs=1e-3) for word, effect in effects.items() if effect > 0
    }
    assert text["words"]


def test_an_event_speaks_for_a_ranked_text_too() -> None:
    found = ranked(**CANDIDATES, parameters={"on_unknown": "skip", **EXPLAIN})
    reason = json.loads(found["REASON"][0, 1])
    scorer = Scorer(PLAIN, EventSums())
    fresh = PLAIN.neighbourhood.place(CountedTexts()(["toy story"]).vectors, PLAIN.vectors)
    users = scorer.users([history(1), history(2), history(5), history()])
    slot = np.array([-1], np.int32)
    *alone, nobody = (scorer.rank(users, row, slot, fresh).logit[0] for row in range(4))
    due = dict(zip(("i1", "i2", "i5"), np.array(alone) - nobody, strict=True))
    assert {each["id"]: each["effect"] for each in reason["events"]} == {
        name: pytest.approx(effect, abs=1e-3) for name, effect in due.items() if effect > 0
    }


def test_words_of_the_best_texts_are_told_and_of_no_more() -> None:
    number = MOST_TEXTS + 3
    texts = [f"text {place}" for place in range(number)]
    candidates = [f"x{place}" for place in range(number)]
    found = ranked(candidate=candidates, candidate_text=texts, parameters=EXPLAIN)
    told = ["words" in json.loads(each) for each in found["REASON"][0]]
    best = np.argsort(-found["LOGIT"][0])[:MOST_TEXTS]
    assert np.flatnonzero(told).tolist() == sorted(best.tolist())


class FailsSecond(CountedTexts):
    """Encodes the texts of requests, and none that reasons ask for."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        if self.asked:
            raise self.error
        return super().__call__(texts)


@pytest.mark.parametrize("error", [Overloaded("too much"), Unavailable("gone")])
def test_reasons_come_without_words_where_texts_cannot_be_encoded_meanwhile(
    error: Exception,
) -> None:
    recommend = Recommend(reader(PLAIN, 20), Scorer(PLAIN, EventSums()), FailsSecond(error))
    found = reasons(ask(recommend, ["x", "i1", "y"], **WORDS))
    whole = reasons(ask(recommender(), ["x", "i1", "y"], **WORDS))
    for reason in whole:
        for event in reason["events"]:
            event.pop("words", None)
    assert found == whole
