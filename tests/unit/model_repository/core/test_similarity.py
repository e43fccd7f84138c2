"""Lists that are held to what is like an item, a text or a query."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model_repository.core import similarity
from model_repository.core.arrays import Floats
from model_repository.core.batch import Outcome, Request, Tensors, answer
from model_repository.core.catalogue import Catalogue
from model_repository.core.errors import InvalidRequest, Unavailable
from model_repository.core.handler import EncodedTexts, EncodeTexts, Recommend
from model_repository.core.items import NO_NEIGHBOURHOOD
from model_repository.core.scoring import Scorer
from model_repository.core.similarity import WEIGHT, Held, Similarity
from model_repository.core.users import EventBatch
from tests.unit.model_repository.catalogues import (
    TEXT_WIDTH,
    CountedTexts,
    EventSums,
    catalogue,
    reader,
)
from tests.unit.model_repository.conftest import user

ITEMS = 30
COLD = (3, 9, 14)
CATALOGUE = replace(
    catalogue(ITEMS, cold=COLD, cold_rank=3), log_events=np.zeros(ITEMS, np.float32)
)
READER = reader(CATALOGUE, max_top_k=ITEMS)


def cosines(vectors: Floats, other: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(other)
    found: Floats = vectors @ other / lengths
    return found


def recommend(encode_texts: EncodeTexts | None = None, of: Catalogue = CATALOGUE) -> Recommend:
    return Recommend(READER, Scorer(of, EventSums()), encode_texts or CountedTexts())


def one(request: Request, handler: Recommend | None = None) -> Tensors:
    (outcome,) = answer(handler or recommend(), [request])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def asked(history: Sequence[str] = (), **parameters: object) -> Tensors:
    return one(user(history, parameters=parameters))


def items(found: Tensors) -> list[str]:
    return [each.decode() for each in found["ITEM"][0]]


def text_vector(text: str) -> Floats:
    found: Floats = CountedTexts()([text]).vectors[0]
    return found


class TestSimilarity:
    def test_an_item_is_like_others_by_the_cosine_of_centred_vectors(self) -> None:
        centred = CATALOGUE.vectors - CATALOGUE.vectors.mean(axis=0)
        found = Similarity(CATALOGUE).to_item(5).all()
        np.testing.assert_allclose(found, cosines(centred, centred[5]), rtol=1e-4, atol=1e-6)
        assert found.dtype == np.float32

    def test_a_text_has_the_vector_that_the_network_makes_of_it(self) -> None:
        nearby = CATALOGUE.neighbourhood
        vector = text_vector("toy")
        made = (vector - nearby.text_mean) @ nearby.text_weight + nearby.text_bias
        centred = CATALOGUE.vectors - CATALOGUE.vectors.mean(axis=0)
        found = Similarity(CATALOGUE).to_text(vector).all()
        np.testing.assert_allclose(found, cosines(centred, made), rtol=1e-4, atol=1e-6)

    def test_a_query_is_compared_with_the_texts_of_all_items(self) -> None:
        nearby = CATALOGUE.neighbourhood
        vector = text_vector("toy")
        found = Similarity(CATALOGUE).to_query(vector).all()
        texts = np.empty((ITEMS, TEXT_WIDTH), np.float32)
        texts[nearby.items] = nearby.directions[:, :TEXT_WIDTH]
        texts[list(COLD)] = CATALOGUE.other_texts
        np.testing.assert_allclose(
            found,
            cosines(texts, vector - nearby.text_mean) * (np.linalg.norm(texts, axis=1)),
            rtol=1e-4,
            atol=1e-6,
        )

    def test_items_whose_texts_are_not_held_are_not_found(self) -> None:
        without = replace(CATALOGUE, other_texts=np.zeros((0, 0), np.float32))
        found = Similarity(without).to_query(text_vector("toy")).all()
        assert np.flatnonzero(np.isneginf(found)).tolist() == list(COLD)

    def test_the_lengths_of_a_large_catalogue_are_read_in_blocks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = Similarity(CATALOGUE).to_item(2).all()
        monkeypatch.setattr(similarity, "_BLOCK", 7)
        np.testing.assert_array_equal(Similarity(CATALOGUE).to_item(2).all(), whole)

    def test_an_item_in_the_middle_of_all_is_like_none(self) -> None:
        alike = replace(CATALOGUE, vectors=np.ones_like(CATALOGUE.vectors))
        assert Similarity(alike).to_item(0).all().tolist() == [0.0] * ITEMS


class TestList:
    def test_similarity_and_interest_decide_together(self) -> None:
        found = asked(["i1", "i2"], like="i5", top_k=ITEMS)
        with_all = one(user(["i1", "i2"], parameters={"top_k": ITEMS, "new_items": 500}))
        logit = dict(zip(items(with_all), with_all["LOGIT"][0], strict=True))
        cosine = Similarity(CATALOGUE).to_item(5).all()
        expected = sorted(
            (name for name in logit if name != "i5"),
            key=lambda name: -(logit[name] + WEIGHT * cosine[int(name[1:])]),
        )
        assert items(found) == expected
        np.testing.assert_allclose(found["LOGIT"][0], [logit[name] for name in expected], 1e-4)
        np.testing.assert_allclose(
            found["SIMILARITY"][0], [cosine[int(name[1:])] for name in expected], 1e-5
        )

    def test_who_asks_changes_the_list(self) -> None:
        assert items(asked(["i1"], like="i5")) != items(asked(["i20"], like="i5"))

    def test_what_is_not_alike_does_not_come(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(similarity, "MOST_SIMILAR", 4)
        likeness = Similarity(CATALOGUE).to_item(5)
        cosine = likeness.all()
        cosine[5] = -np.inf
        nearest = {f"i{item}" for item in np.argsort(-cosine)[:4]}
        assert set(items(asked(like="i5", top_k=3))) < nearest
        # Though others are of more interest.
        scorer = Scorer(CATALOGUE, EventSums())
        held = Held(scorer, likeness, np.array([5], np.int32), None, weight=0)
        found = held.best(scorer.users([READER.read(user()).history]), 3)
        assert {f"i{item}" for item in found.index} < nearest
        # A list that is longer has more.
        assert len(items(asked(like="i5", top_k=8))) == 8

    def test_it_is_not_what_is_asked_for_nor_seen(self) -> None:
        found = items(asked(["i1"], like="i5", top_k=ITEMS))
        assert {"i1", "i5"}.isdisjoint(found)
        assert len(found) == ITEMS - 2
        assert "i1" in items(asked(["i1"], like="i5", top_k=ITEMS, include_seen=True))
        assert "i5" not in items(asked(["i5"], like="i5", top_k=ITEMS, include_seen=True))

    def test_the_rules_hold(self) -> None:
        found = asked(
            like="i5", top_k=6, filter="genre == 'genre 1'", pins='"i16" at 2', trace=True
        )
        assert {int(name[1:]) % 3 for name in items(found)} == {1}
        assert items(found)[1] == "i16"
        assert b'"pin: rank 2"' in found["TRACE"][0, 0]
        assert b'"filter"' in found["TRACE"][0, 0]

    def test_a_pinned_item_need_not_be_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = items(asked(like="i5", top_k=ITEMS))
        monkeypatch.setattr(similarity, "MOST_SIMILAR", 4)
        found = items(asked(like="i5", top_k=4, pool=4, pins=f'"{plain[-1]}" at 2'))
        assert found == [plain[0], plain[-1], plain[1], plain[2]]

    def test_the_trace_tells_of_what_is_alike(self) -> None:
        plain = items(asked(like="i5", top_k=6))
        found = asked(like="i5", top_k=6, filter="genre == 'genre 1'", trace=True)
        removed = json.loads(found["TRACE"][0, 0])["removed"]
        others = [name for name in plain if int(name[1:]) % 3 != 1]
        assert removed.keys() - {"i5"} <= set(others)
        assert removed.keys() >= set(others[:-1])

    def test_rules_of_many_items_are_met_beyond_the_most_similar(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(similarity, "MOST_SIMILAR", 4)
        found = asked(like="i5", top_k=4, pool=4, limits="at least 4 where genre == 'genre 1'")
        assert {int(name[1:]) % 3 for name in items(found)} == {1}

    def test_the_score_of_the_most_similar_is_its_interest(self) -> None:
        """So a boost weighs as in any list, however little the items are like a query."""
        scorer = Scorer(CATALOGUE, EventSums())
        user_of = scorer.users([READER.read(user(["i1"])).history])
        likeness = Similarity(CATALOGUE).to_item(5)
        cosine, masked = likeness.all(), np.array([5, 20], np.int32)
        found = Held(scorer, likeness, masked, None).best(user_of, ITEMS)
        cosine[masked] = -np.inf
        less = WEIGHT * (cosine[found.index] - cosine.max())
        expected = CATALOGUE.calibration.interest(found.logit + less)
        np.testing.assert_allclose(found.score, expected, rtol=1e-3)
        nearest = found.index.tolist().index(int(cosine.argmax()))
        np.testing.assert_allclose(found.score[nearest], found.interest[nearest], rtol=1e-5)

    def test_a_boost_counts(self) -> None:
        plain = asked(like="i5", top_k=ITEMS)
        boosted = items(asked(like="i5", top_k=9, boost="+1 if genre == 'genre 0'"))
        of_genre = [name for name in items(plain) if int(name[1:]) % 3 == 0]
        assert boosted == of_genre[:9]

    def test_pages_have_all_items_once(self) -> None:
        seen: list[str] = []
        cursor = "start"
        while cursor:
            found = asked(like="i5", top_k=8, cursor=cursor)
            seen += items(found)
            cursor = found["CURSOR"][0, 0].decode()
        assert sorted(seen) == sorted({f"i{number}" for number in range(ITEMS)} - {"i5"})

    def test_others_of_the_batch_are_answered_as_alone(self) -> None:
        requests = [
            user(["i1"]),
            user(["i1"], parameters={"like": "i5"}),
            user(["i2"], parameters={"query": "toy"}),
            user(["i2"], parameters={"query": "story"}),
            user(["i7"]),
        ]
        together: list[Outcome] = answer(recommend(), requests)
        for request, found in zip(requests, together, strict=True):
            assert not isinstance(found, Exception)
            alone = one(request)
            assert found.keys() == alone.keys()
            assert items(found) == items(alone)
        plain = together[0]
        assert not isinstance(plain, Exception)
        assert "SIMILARITY" not in plain

    def test_reasons_come_along(self) -> None:
        assert asked(["i1"], like="i5", top_k=2, explain=True)["REASON"].shape == (1, 2)

    def test_without_any_item_left_the_list_is_empty(self) -> None:
        found = asked(like="i5", filter="genre == 'nothing'")
        assert found["ITEM"].shape == found["SIMILARITY"].shape == (1, 0)


class TestTexts:
    def test_an_item_that_the_catalogue_lacks_is_read_by_its_text(self) -> None:
        found = asked(like="new", like_text="toy", top_k=5)
        assert items(found) == items(asked(like_text="toy", top_k=5))
        alike = Similarity(CATALOGUE).to_text(text_vector("toy")).all()
        places = [int(name[1:]) for name in items(found)]
        np.testing.assert_allclose(found["SIMILARITY"][0], alike[places], 1e-5)

    def test_the_text_of_an_item_that_it_knows_is_not_read(self) -> None:
        texts = CountedTexts()
        found = one(user(parameters={"like": "i5", "like_text": "toy"}), recommend(texts))
        assert items(found) == items(asked(like="i5"))
        assert texts.asked == []

    def test_a_query_finds_what_is_most_alike(self) -> None:
        alike = Similarity(CATALOGUE).to_query(text_vector("toy")).all()
        found = asked(["i1"], query="toy", top_k=5)
        places = [int(name[1:]) for name in items(found)]
        np.testing.assert_allclose(found["SIMILARITY"][0], alike[places], 1e-5)
        assert items(asked(["i1"], query="toy")) != items(asked(["i1"], query="story"))

    def test_the_text_stands_among_those_of_the_history(self) -> None:
        history: dict[str, Any] = {"history_text": ["story", ""]}
        texts = CountedTexts()
        found = one(
            user(["x", "i1"], parameters={"query": "cut: a toy"}, **history), recommend(texts)
        )
        assert texts.asked == [["story", "cut: a toy"]]
        assert found["TRUNCATED"].tolist() == [[1]]
        same = one(user(["x", "i1"], parameters={"query": "story"}, **history), recommend(texts))
        assert texts.asked[1:] == [["story"]]
        assert len(items(same)) == 10

    @pytest.mark.parametrize("empty", ["", "  "])
    def test_an_empty_query_is_none(self, empty: str) -> None:
        assert items(asked(["i1"], query=empty)) == items(asked(["i1"]))

    def test_no_list_comes_where_the_text_cannot_be_encoded(self) -> None:
        def fails(_texts: Sequence[str]) -> EncodedTexts:
            raise Unavailable("the encoder is away")

        handler = recommend(fails)
        skips = {"on_unknown": "skip"}
        with pytest.raises(Unavailable, match="encoder is away"):
            one(user(parameters={"query": "toy", **skips}), handler)
        with_text = user(["x"], parameters={"like": "i5", **skips}, history_text=["toy"])
        assert len(items(one(with_text, handler))) == 10


class TestWithoutTheNetwork:
    class _Broken(EventSums):
        def __call__(self, batches: Sequence[EventBatch]) -> list[Floats]:  # noqa: ARG002
            raise RuntimeError("no state")

    def test_what_is_similar_comes_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(similarity, "MOST_SIMILAR", 4)
        known = replace(CATALOGUE, popular=np.arange(3, dtype=np.int32))
        handler = Recommend(READER, Scorer(known, self._Broken()), CountedTexts())
        far = items(asked(like="i5", top_k=ITEMS))[-1]
        parameters = {"like": "i5", "top_k": 4, "pool": 4, "pins": f'"{far}" at 1', "trace": True}
        found = one(user(["i1"], parameters=parameters), handler)
        cosine = Similarity(CATALOGUE).to_item(5).all()
        cosine[[1, 5, int(far[1:])]] = -np.inf
        assert items(found) == [far, *(f"i{item}" for item in np.argsort(-cosine)[:3])]
        assert found["FALLBACK"].tolist() == [[1]]
        assert np.isnan(found["LOGIT"]).all()
        removed = json.loads(found["TRACE"][0, 0])["removed"]
        assert removed == {"i5": "like", f"i{np.argsort(-cosine)[3]}": "pins"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "told"),
        [
            ({"like": "nobody"}, "like is 'nobody', which is not in the catalogue; send its text"),
            ({"like": "i1", "query": "toy"}, "query and like are both given"),
            ({"like_text": "story", "query": "toy"}, "query and like_text are both given"),
            ({"query": "x" * (2**20 + 1)}, "query has 1,048,577 bytes"),
            ({"query": "\ud800"}, "is not UTF-8"),
        ],
    )
    def test_it_says_what_to_send(self, parameters: dict[str, object], told: str) -> None:
        with pytest.raises(InvalidRequest, match=told):
            one(user(parameters=parameters))

    def test_a_model_without_text_vectors_searches_nothing(self) -> None:
        without = replace(
            CATALOGUE, neighbourhood=NO_NEIGHBOURHOOD, other_texts=np.zeros((0, 0), np.float32)
        )
        with pytest.raises(InvalidRequest, match="no text vectors; export it again"):
            one(user(parameters={"query": "toy"}), recommend(of=without))
        assert len(items(one(user(parameters={"like": "i5"}), recommend(of=without)))) == 10

    def test_a_nan_is_an_error(self) -> None:
        bias = CATALOGUE.bias.copy()
        bias[4] = np.nan
        scorer = Scorer(replace(CATALOGUE, bias=bias), EventSums())
        held = Held(scorer, Similarity(CATALOGUE).to_item(5), np.zeros(0, np.int32), None)
        history = READER.read(user(["i1"])).history
        with pytest.raises(FloatingPointError, match="NaN"):
            held.best(scorer.users([history]), 5)
