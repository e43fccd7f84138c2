"""Lists within limits, with items at ranks of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_repository.core.arrays import Floats
from model_repository.core.catalogue import Candidates
from model_repository.core.policy.arrange import Building
from model_repository.core.policy.chooser import Best
from model_repository.core.policy.groups import Members
from model_repository.core.policy.limits import Groups
from tests.unit.model_repository.catalogues import catalogue

ITEMS = 9
CATALOGUE = catalogue(ITEMS)


def candidates(number: int = ITEMS) -> Candidates:
    falling = np.linspace(0.9, 0.1, number).astype(np.float32)
    return Candidates(CATALOGUE, np.arange(number, dtype=np.int32), falling, falling, falling)


def groups(
    at_most: list[tuple[list[int], int]],
    at_least: list[tuple[list[int], int]] | None = None,
) -> Groups:
    def table(each: list[tuple[list[int], int]]) -> NDArray[np.bool_]:
        found = np.zeros((len(each), ITEMS), bool)
        for row, (items, _) in zip(found, each, strict=True):
            row[items] = True
        return found

    least = at_least or []
    place, group = np.nonzero(table(at_most).T)
    members = Members.of(place, group, ITEMS, len(at_most))
    return Groups(
        members, np.array([n for _, n in at_most], int), [f"most {i}" for i in at_most],
        table(least), np.array([n for _, n in least], int), [f"least {i}" for i in least],
    )  # fmt: skip


def arranged(found: Groups, top_k: int, pins: dict[int, int] | None = None) -> list[int]:
    building = Building(candidates(), found, pins or {}, top_k)
    return [int(place) for place in building.places(Best())]


def test_without_limits_it_is_the_best() -> None:
    assert arranged(groups([]), 4) == [0, 1, 2, 3]


def test_no_more_than_so_many_of_a_group() -> None:
    assert arranged(groups([([0, 1, 2, 3], 2), ([4, 5], 1)]), 5) == [0, 1, 4, 6, 7]


def test_what_must_be_there_comes_at_the_end() -> None:
    assert arranged(groups([], [([7, 8], 1)]), 4) == [0, 1, 2, 7]
    assert arranged(groups([], [([1, 8], 1)]), 4) == [0, 1, 2, 3]
    assert arranged(groups([], [([1, 8], 2)]), 4) == [0, 1, 2, 8]


def test_the_best_do_not_take_the_room_of_what_must_be_there() -> None:
    # 8 must be there, and of its group only one may be.
    assert arranged(groups([([0, 1, 8], 1)], [([8], 1)]), 3) == [2, 3, 8]


def test_pinned_items_have_their_ranks_and_count_for_limits() -> None:
    assert arranged(groups([]), 4, {0: 7, 2: 3}) == [7, 0, 3, 1]
    assert arranged(groups([([0, 7], 1)]), 3, {1: 7}) == [1, 7, 2]


def test_a_short_list_has_its_pinned_items_too() -> None:
    everything = list(range(ITEMS))
    assert arranged(groups([(everything, 2)]), 6, {4: 5}) == [0, 5]


@given(data=st.data(), top_k=st.integers(1, 6))
def test_no_limit_is_ever_broken(data: st.DataObject, top_k: int) -> None:
    """And where one attribute is limited, what must be there is there if it can be."""
    artist = data.draw(st.lists(st.integers(0, 3), min_size=ITEMS, max_size=ITEMS))
    each = data.draw(st.integers(1, 3))
    wanted = data.draw(st.lists(st.booleans(), min_size=ITEMS, max_size=ITEMS))
    number = data.draw(st.integers(0, top_k))
    members = [[i for i in range(ITEMS) if artist[i] == a] for a in range(4)]
    must = [i for i in range(ITEMS) if wanted[i]]
    found = arranged(groups([(group, each) for group in members], [(must, number)]), top_k)
    assert len(set(found)) == len(found) <= top_k

    def within(items: tuple[int, ...]) -> bool:
        return all(sum(i in group for i in items) <= each for group in members)

    assert within(tuple(found))
    possible = [
        sum(i in must for i in items)
        for size in range(top_k + 1)
        for items in combinations(range(ITEMS), size)
        if within(items)
    ]
    assert sum(i in must for i in found) >= min(number, max(possible))
    longest = max(
        size
        for size in range(top_k + 1)
        if any(within(items) for items in combinations(range(ITEMS), size))
    )
    assert len(found) == longest


@given(data=st.data(), top_k=st.integers(1, 6))
def test_any_limits_together_are_kept(data: st.DataObject, top_k: int) -> None:
    subsets = st.lists(st.integers(0, ITEMS - 1), max_size=ITEMS, unique=True)
    limited = st.lists(st.tuples(subsets, st.integers(0, 3)), max_size=4)
    at_most, at_least = data.draw(limited), data.draw(limited)
    found = arranged(groups(at_most, at_least), top_k)
    assert len(set(found)) == len(found) <= top_k
    for group, number in at_most:
        assert sum(i in group for i in found) <= number


@pytest.mark.parametrize("turn", [1, -1])
def test_quotas_share_items_where_there_are_ranks_for_no_more(turn: int) -> None:
    both = [([0, 1, 2, 6, 7, 8], 3), ([3, 4, 5, 6, 7, 8], 3)][::turn]
    assert arranged(groups([], both), 4) == [0, 6, 7, 8]
    one = [([0, 8], 1), ([1, 8], 1)][::turn]
    assert arranged(groups([], one), 1) == [8]
    assert arranged(groups([], one), 2) == [0, 1]  # the best of each where these do


@given(data=st.data(), top_k=st.integers(1, 5))
def test_two_quotas_alone_are_met_where_they_can_be(data: st.DataObject, top_k: int) -> None:
    subsets = st.lists(st.integers(0, ITEMS - 1), max_size=ITEMS, unique=True)
    quotas = data.draw(st.lists(st.tuples(subsets, st.integers(0, top_k)), min_size=2, max_size=2))

    def met(items: Sequence[int]) -> bool:
        return all(sum(i in group for i in items) >= number for group, number in quotas)

    possible = any(met(items) for items in combinations(range(ITEMS), top_k))
    assert met(arranged(groups([], quotas), top_k)) == possible


@pytest.mark.parametrize("turn", [1, -1])
def test_what_is_set_aside_for_a_quota_leaves_room_for_the_others(turn: int) -> None:
    quotas = [([2, 7], 1), ([3], 1)][::turn]
    found = arranged(groups([([2, 3], 1)], quotas), 4)
    assert found == [0, 1, 3, 7]


def test_no_rank_is_free_for_what_does_not_fit() -> None:
    assert arranged(groups([], [([5, 6], 2), ([7, 8], 2)]), 3) == [5, 6, 7]


def test_what_is_set_aside_is_given_back_the_worst_first_and_once() -> None:
    gathered = []

    class Counted(Building):
        def _set_aside(self) -> None:
            gathered.append(True)
            super()._set_aside()

    class Second:
        def choose(
            self,
            feasible: NDArray[np.bool_],
            scores: Floats,  # noqa: ARG002
            rank: int,  # noqa: ARG002
        ) -> tuple[int, float]:
            shown.append(np.flatnonzero(feasible).tolist())
            return shown[-1][min(1, len(shown[-1]) - 1)], 0.25

    shown: list[list[int]] = []
    # For the quota 0 and 1 are set aside, which leaves no room for 2 until 3 is chosen.
    found = groups([([0, 1, 2], 2)], [([0, 1, 2, 3], 2)])
    building = Counted(candidates(), found, {}, 4)
    assert building.places(Second()).tolist() == [1, 3, 2, 5]
    assert shown[0] == [0, 1, 3, 4, 5, 6, 7, 8]
    assert shown[2] == [0, 2, 4, 5, 6, 7, 8]
    assert len(gathered) == 1


def test_a_chooser_is_shown_what_is_feasible() -> None:
    shown: list[list[int]] = []

    class Last:
        def choose(
            self, feasible: NDArray[np.bool_], scores: Floats, rank: int
        ) -> tuple[int, float]:
            assert rank == len(shown)
            assert len(scores) == ITEMS
            shown.append(np.flatnonzero(feasible).tolist())
            return shown[-1][-1], 0.25

    found = groups([([7, 8], 1)], [([0], 1)])
    building = Building(candidates(), found, {}, 3)
    assert building.places(Last()).tolist() == [8, 6, 0]
    assert shown == [list(range(9)), list(range(7)), [0]]
    assert building.propensity == [0.25] * 3
