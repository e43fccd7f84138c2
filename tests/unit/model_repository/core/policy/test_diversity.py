"""Lists of items that differ."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from model_repository.core.arrays import Floats
from model_repository.core.catalogue import Candidates, Catalogue
from model_repository.core.errors import InvalidRequest
from model_repository.core.items import NO_NEIGHBOURHOOD
from model_repository.core.policy.diversity import Diversity
from tests.unit.model_repository.catalogues import TEXT_WIDTH, catalogue
from tests.unit.model_repository.conftest import user
from tests.unit.model_repository.core.policy.lists import (
    CATALOGUE,
    ITEMS,
    asked,
    best_first,
    listed,
    with_column,
)
from tests.unit.model_repository.core.policy.test_policy import items, recommender

STAGE = Diversity()


def apart(vectors: Floats, chosen: list[int]) -> float:
    """Mean distance of the pairs of a list."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = combinations(chosen, 2)
    return float(np.mean([1 - units[one] @ units[other] for one, other in pairs]))


def volume(vectors: Floats, chosen: list[int]) -> float:
    """Logarithm of the volume that the vectors of a list span, which a dpp makes large."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kernel = units[chosen] @ units[chosen].T
    return float(np.linalg.slogdet(kernel + 1e-3 * np.eye(len(chosen)))[1])


def greedy(vectors: Floats, relevance: Floats, top_k: int, diversity: float) -> list[int]:
    """The largest sum of distances, as a textbook has it: the mean distance of a list counts."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = [0]
    while len(chosen) < top_k:

        def value(place: int) -> float:
            distances = sum(1 - units[place] @ units[other] for other in chosen)
            return float((1 - diversity) * relevance[place] + diversity * distances / (top_k - 1))

        left = [place for place in range(len(units)) if place not in chosen]
        chosen.append(max(left, key=value))
    return sorted(chosen)


@pytest.mark.parametrize("top_k", [3, 6])
@pytest.mark.parametrize("diversity", [0.3, 0.7, 1.0])
def test_msd_is_the_largest_sum_of_distances(top_k: int, diversity: float) -> None:
    candidates = best_first()
    relevance = np.linspace(1, 0, 20, dtype=np.float32)
    expected = greedy(candidates.vectors, relevance, top_k, diversity)
    context = asked(top_k=top_k, diversity=diversity, diversity_method="msd")
    assert listed(STAGE, candidates, context) == expected


@pytest.mark.parametrize("diversity", [0.3, 0.7])
def test_dpp_is_the_largest_determinant(diversity: float) -> None:
    """Chosen one by one, with the kernel as Chen et al. write it."""
    candidates = best_first()
    relevance = np.linspace(1, 0, 20)
    quality = np.exp((1 - diversity) / (2 * diversity) * relevance / relevance.std())
    units = candidates.vectors / np.linalg.norm(candidates.vectors, axis=1, keepdims=True)
    kernel = quality[:, np.newaxis] * (units @ units.T) * quality
    chosen: list[int] = []
    while len(chosen) < 4:  # as many as the vectors have dimensions
        left = [place for place in range(20) if place not in chosen]

        def determinant(place: int) -> float:
            rows = [*chosen, place]
            return float(np.linalg.det(kernel[np.ix_(rows, rows)]))

        chosen.append(max(left, key=determinant))
    assert listed(STAGE, candidates, asked(top_k=4, diversity=diversity)) == sorted(chosen)


@pytest.mark.parametrize("method", ["msd", "dpp"])
@pytest.mark.parametrize("by", ["item", "text", "genres"])
def test_the_more_diversity_the_farther_apart_by_what_is_asked(method: str, by: str) -> None:
    known = with_column(["a", "a", "a", "b", "a", "c", "a|b", "a", "d"])
    shares = np.eye(6, dtype=np.float32)[[0, 0, 0, 1, 0, 2, 5, 0, 3]]
    vectors = {
        "item": known.vectors,
        "text": known.neighbourhood.directions[:, :TEXT_WIDTH],
        "genres": shares,
    }[by]
    measure = {"msd": apart, "dpp": volume}[method]
    candidates = best_first(known, 9)

    def spread(diversity: float) -> float:
        options: dict[str, Any] = {
            "diversity": diversity,
            "diversity_by": by,
            "diversity_method": method,
        }
        return measure(vectors, listed(STAGE, candidates, asked(known, top_k=4, **options)))

    assert spread(0.99) > max(spread(0.01), measure(vectors, [0, 1, 2, 3]))


def test_of_two_that_are_the_same_one_is_enough() -> None:
    twins = np.repeat(np.arange(ITEMS // 2), 2)
    known = replace(CATALOGUE, vectors=CATALOGUE.vectors[twins])
    chosen = listed(STAGE, best_first(known), asked(known, top_k=4, diversity=0.6))
    assert len({twins[item] for item in chosen}) == 4


@pytest.mark.parametrize("method", ["msd", "dpp"])
def test_a_little_is_nearly_what_the_model_ranks(method: str) -> None:
    context = asked(diversity=1e-6, diversity_method=method)
    assert listed(STAGE, best_first(), context) == [0, 1, 2, 3, 4]


def test_only_the_pool_is_chosen_from_and_asked_for() -> None:
    context = asked(diversity=1.0, pool=7)
    assert STAGE.wanted(context) == 7
    chosen = listed(STAGE, best_first(), context)
    assert max(chosen) < 7
    assert chosen != [0, 1, 2, 3, 4]
    assert max(listed(STAGE, best_first(), asked(diversity=1.0))) >= 7


@pytest.mark.parametrize("number", [0, 1, 5])
def test_where_there_is_nothing_to_choose_the_list_stays(number: int) -> None:
    expected = list(range(number))
    assert listed(STAGE, best_first(number=max(1, number))[:number], asked(diversity=1.0)) == (
        expected
    )


def test_a_list_of_one_is_the_best() -> None:
    assert listed(STAGE, best_first(), asked(diversity=1.0, top_k=1)) == [0]


def test_popular_items_differ_too_where_no_state_is_known() -> None:
    unknown = np.full(20, np.nan, np.float32)
    score = 1 / np.arange(1, 21, dtype=np.float32)
    popular = Candidates(CATALOGUE, np.arange(20, dtype=np.int32), unknown, unknown, score)
    found = STAGE.rerank(popular, asked(diversity=0.9))
    assert found.index[:5].tolist() != [0, 1, 2, 3, 4]


def test_an_item_without_a_text_vector_is_unlike_all_others() -> None:
    options: dict[str, Any] = {"diversity": 0.5, "diversity_by": "text", "diversity_method": "msd"}
    for cold in ([6], []):
        known = catalogue(ITEMS, cold=cold)
        alike = np.ones_like(known.neighbourhood.directions)
        known = replace(known, neighbourhood=replace(known.neighbourhood, directions=alike))
        chosen = listed(STAGE, best_first(known), asked(known, **options))
        assert [item for item in chosen if item > 4] == cold


def without_texts() -> Catalogue:
    return replace(CATALOGUE, neighbourhood=NO_NEIGHBOURHOOD)


def of_some_texts() -> Catalogue:
    nearby = CATALOGUE.neighbourhood
    few = replace(nearby, items=nearby.items[::2], directions=nearby.directions[::2])
    return replace(CATALOGUE, neighbourhood=few)


@pytest.mark.parametrize(
    ("known", "by", "told"),
    [
        (without_texts(), "text", "text vectors of 0 of its 40 items; set it to 'item'"),
        (of_some_texts(), "text", "text vectors of 20 of its 40 items; set it to 'item'"),
        (CATALOGUE, "brand", "no attribute 'brand'. It has is_new, genre"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(known: Catalogue, by: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        STAGE.check(asked(known, diversity=0.5, diversity_by=by))


def test_recommend_gives_a_diverse_list_to_those_who_ask() -> None:
    recommend = recommender()
    plain = items(user(["ï1"], parameters={"top_k": 5}), recommend)
    diverse = items(user(["ï1"], parameters={"top_k": 5, "diversity": 0.9}), recommend)
    assert diverse[0] == plain[0]
    assert set(diverse) != set(plain)
    assert "ï1" not in diverse
    assert items(user(["ï1"], parameters={"top_k": 5, "diversity": 0}), recommend) == plain
