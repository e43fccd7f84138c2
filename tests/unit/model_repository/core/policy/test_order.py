"""Lists that a stage has chosen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from model_repository.core.policy.order import picks, prefer, ranked_logits, relevance
from tests.unit.model_repository.core.policy.lists import CATALOGUE, asked, best_first


def test_what_is_chosen_stands_in_the_order_it_had_and_the_spare_as_it_is_wanted() -> None:
    candidates = best_first(number=8)
    found = prefer(candidates, np.array([6, 0, 2, 7, 4]), asked(top_k=3), "stage")
    assert found.index.tolist() == [0, 2, 6, 7, 4, 1, 3, 5]
    np.testing.assert_array_equal(found.score, candidates.score)
    np.testing.assert_array_equal(found.logit, candidates.logit[found.index])


def test_what_came_into_the_list_is_told() -> None:
    context = asked(top_k=3, traced=True)
    found = prefer(best_first(number=8), np.array([6, 0, 2]), context, "stage")
    assert context.trace is not None
    told = json.loads(context.trace.output(CATALOGUE, found.index[:3].tolist())["TRACE"][0, 0])
    assert told["items"] == {"i6": ["stage: rank 7 to 3"]}


def test_the_order_of_earlier_stages_is_that_of_the_logits() -> None:
    candidates = best_first(number=5)
    assert relevance(candidates).tolist() == [1, 0.75, 0.5, 0.25, 0]
    reordered = candidates.by_score(np.array([1, 5, 4, 3, 2], np.float32))
    assert relevance(reordered).tolist() == [1, 0.75, 0.5, 0.25, 0]
    np.testing.assert_array_equal(ranked_logits(reordered), candidates.logit)


def test_popular_items_have_no_logits_and_are_ordered_by_their_scores() -> None:
    unknown = np.full(3, np.nan, np.float32)
    score = np.array([1, 0.1, 0.01], np.float32)
    popular = replace(best_first(number=3), logit=unknown, interest=unknown, score=score)
    assert relevance(popular) == pytest.approx([1, 0.5, 0])
    zeroed = replace(popular, score=np.array([1, 0, 0], np.float32))
    assert relevance(zeroed).tolist() == [1, 0, 0]


def test_equal_candidates_are_equally_relevant() -> None:
    equal = replace(best_first(number=3), logit=np.full(3, 2.0, np.float32))
    assert relevance(equal).tolist() == [0, 0, 0]


def test_the_spare_is_bounded() -> None:
    assert [picks(1), picks(10), picks(500)] == [2, 15, 550]
