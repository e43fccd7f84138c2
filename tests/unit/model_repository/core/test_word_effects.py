"""What is lost without each word of a text."""

from __future__ import annotations

import numpy as np

from model_repository.core.items import NewItems
from model_repository.core.scoring import Scorer
from model_repository.core.users import NO_AGE, History
from model_repository.core.word_effects import (
    MOST_TEXTS,
    lost_of_events,
    lost_of_item,
    without_words,
)
from model_repository.core.words import MOST_WORDS
from tests.unit.model_repository.catalogues import CountedTexts, EventSums, catalogue

KNOWN = catalogue(30)
SCORER = Scorer(KNOWN, EventSums())


def placed(*texts: str) -> NewItems:
    return KNOWN.neighbourhood.place(CountedTexts()(texts).vectors, KNOWN.vectors)


def history(slot: int, action: int = 0) -> History:
    return History(
        np.array([slot], np.int32), np.array([action], np.int32), np.array([NO_AGE], np.int64)
    )


def test_all_texts_without_a_word_are_encoded_at_once() -> None:
    encode = CountedTexts()
    fresh = placed("a b", "other", "c")
    texts = {-1: "a b", -3: "c", -2: "..."}
    found = without_words(SCORER, texts, fresh, lambda each: encode(each).vectors)
    assert encode.asked == [[" b", "a ", ""]]
    words = {slot: [word.name for word in each] for slot, each in found.words.items()}
    assert words == {-1: ["a", "b"], -3: ["c"]}
    assert {slot: each.tolist() for slot, each in found.slots.items()} == {-1: [-4, -5], -3: [-6]}
    whole = placed("a b", "other", "c", " b", "a ", "")
    np.testing.assert_allclose(found.fresh.vectors, whole.vectors, atol=1e-6)
    np.testing.assert_allclose(found.fresh.bias, whole.bias, atol=1e-6)


def test_nothing_is_encoded_where_there_is_no_word() -> None:
    encode = CountedTexts()
    found = without_words(SCORER, {-1: "..."}, placed("..."), lambda each: encode(each).vectors)
    assert not encode.asked
    assert (found.words, len(found.fresh.bias)) == ({}, 1)
    assert lost_of_events(SCORER, history(-1), [], np.array([1], np.int32), found) == []


def test_a_ranked_text_loses_what_its_logit_is_less_without_a_word() -> None:
    found = without_words(
        SCORER, {-1: "a b"}, placed("a b"), lambda each: CountedTexts()(each).vectors
    )
    user = SCORER.users([history(4)])
    rows = np.array([-1, -2, -3], np.int32)
    whole, *left = SCORER.rank(user, 0, rows, placed("a b", " b", "a ")).logit
    lost = lost_of_item(SCORER, user, -1, found)
    np.testing.assert_allclose(lost, whole - np.array(left), atol=1e-5)
    assert np.abs(lost).min() > 0.01


def test_an_event_loses_what_it_says_less_without_a_word() -> None:
    """For known items and for new ones, with its action."""
    past = History(
        np.array([5, -2], np.int32), np.array([0, 1], np.int32), np.array([7, 0], np.int64)
    )
    found = without_words(
        SCORER, {-2: "a b"}, placed("c", "a b"), lambda each: CountedTexts()(each).vectors
    )
    items = np.array([3, -1, 8], np.int32)
    (lost,) = lost_of_events(SCORER, past, [1], items, found)
    fresh = placed("c", "a b", " b", "a ")
    alone = [
        History(np.array([slot], np.int32), past.actions[1:], past.ages[1:])
        for slot in (-2, -3, -4)
    ]
    users = SCORER.users(alone, fresh)
    whole, *left = (SCORER.rank(users, row, items, fresh).logit for row in range(3))
    np.testing.assert_allclose(lost, whole - np.array(left), atol=1e-5)
    assert lost.shape == (2, 3)
    assert np.abs(lost).min() > 0.001


def test_a_request_costs_no_more_than_the_texts_that_one_may_bring() -> None:
    assert MOST_TEXTS * MOST_WORDS <= 128
