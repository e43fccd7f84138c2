"""The parts of a logit: for one user and some items as for all users and the whole catalogue."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import score_terms
from model_repository.core.arrays import Floats
from model_repository.core.items import NewItems
from model_repository.core.score_terms import LinearTerm, NetworkTerm, TrendTerm, Users
from model_repository.core.trend import TrendRow
from model_repository.core.users import NO_ITEM, History
from tests.unit.model_repository.catalogues import MAX_HISTORY, WIDTH, catalogue

CATALOGUE = catalogue()
ITEMS = len(CATALOGUE)
NETWORK = NetworkTerm(CATALOGUE.vectors, CATALOGUE.bias)
LINEAR = LinearTerm(CATALOGUE.linear_index, CATALOGUE.linear_value, CATALOGUE.decay)

slots = st.one_of(st.integers(0, ITEMS - 1), st.integers(-3, -1), st.just(NO_ITEM))
histories = st.lists(st.lists(slots, max_size=MAX_HISTORY), min_size=1, max_size=5)
item_lists = st.lists(st.integers(0, ITEMS - 1), max_size=8)


def users(of: Sequence[Sequence[int]], seed: int = 0) -> Users:
    states = np.random.default_rng(seed).normal(size=(len(of), WIDTH)).astype(np.float32)
    blank = [np.zeros(len(each), np.int32) for each in of]
    return Users(
        states,
        [
            History(np.array(each, np.int32), none, none.astype(np.int64))
            for each, none in zip(of, blank, strict=True)
        ],
    )


def by_hand(of: Sequence[int]) -> Floats:
    """The linear term of the whole catalogue, as the formula in its docstring has it."""
    total = np.zeros(ITEMS)
    for age, slot in enumerate(reversed(of)):
        if slot >= 0:
            for item, value in zip(
                CATALOGUE.linear_index[slot], CATALOGUE.linear_value[slot], strict=True
            ):
                total[item] += CATALOGUE.decay[age] * value
    return total.astype(np.float32)


def whole(term: LinearTerm | TrendTerm, asked: Users) -> Floats:
    logits = np.zeros((len(asked), ITEMS), np.float32)
    term.add_to(logits, asked)
    return logits


@given(histories, item_lists)
def test_the_linear_term_of_some_items_is_that_of_the_whole_catalogue(
    of: list[list[int]], items: list[int]
) -> None:
    asked = users(of)
    everything = whole(LINEAR, asked)
    for user, each in enumerate(of):
        np.testing.assert_allclose(everything[user], by_hand(each), rtol=1e-5, atol=1e-5)
        found = LINEAR.of(asked, user, np.array(items, np.int32))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, everything[user, items], rtol=1e-5, atol=1e-5)
        # What one user's history put there is gone before the next one's.
        assert not LINEAR._row().any()


@given(histories, st.lists(st.integers(0, ITEMS - 1), max_size=8, unique=True))
def test_a_term_of_each_user_is_that_of_one_after_the_other(
    of: list[list[int]], items: list[int]
) -> None:
    trend = [TrendRow(np.arange(ITEMS, dtype=np.float32) + row, 0) for row in range(len(of))]
    asked = replace(users(of), trend=trend)
    some = np.array(items, np.int32)
    for term in (NETWORK, LINEAR, TrendTerm()):
        found = term.of_each(asked, some)
        assert found.dtype == np.float32
        one_by_one = [term.of(asked, user, some) for user in range(len(of))]
        np.testing.assert_allclose(found, one_by_one, rtol=1e-4, atol=1e-5)
    assert not LINEAR._row().any()


@given(histories)
def test_the_row_of_a_large_catalogue_is_emptied_too(of: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_terms, "_SMALL_CATALOGUE", 0)
        for user in range(len(of)):
            LINEAR.of(users(of), user, np.arange(ITEMS, dtype=np.int32))
            assert not LINEAR._row().any()


@given(histories, st.integers(1, 40))
def test_users_who_take_turns_get_what_they_get_together(of: list[list[int]], most: int) -> None:
    together = whole(LINEAR, users(of))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_terms, "_ENTRIES", most)
        np.testing.assert_array_equal(whole(LINEAR, users(of)), together)


def test_it_is_added_to_what_is_there_and_nobody_is_nothing() -> None:
    logits = np.ones((2, ITEMS), np.float32)
    LINEAR.add_to(logits, users([[3, 4], []]))
    np.testing.assert_allclose(logits[0], 1 + by_hand([3, 4]), rtol=1e-5, atol=1e-5)
    assert (logits[1] == 1).all()
    LINEAR.add_to(logits[:0], users([]))


@given(histories)
def test_what_a_history_lifts_is_among_what_it_is_said_to_lift(of: list[list[int]]) -> None:
    asked = users(of)
    for user, logits in enumerate(whole(LINEAR, asked)):
        assert set(np.flatnonzero(logits)) <= set(LINEAR.lifts(asked, user)[0].tolist())


@given(histories)
def test_a_new_item_has_the_mean_of_its_neighbours(of: list[list[int]]) -> None:
    random = np.random.default_rng(2)
    items = random.integers(0, ITEMS, (2, 3)).astype(np.int32)
    weights = random.dirichlet(np.ones(3), 2).astype(np.float32)
    mean = np.einsum("rk,rkd->rd", weights, CATALOGUE.vectors[items])
    bias = (NETWORK.all(users([[]]))[0, items] * weights).sum(1) - mean @ users([[]]).states[0]
    fresh = NewItems(mean, bias, items, weights)
    asked = users(of)
    for user in range(len(of)):
        for logits, found in (
            (NETWORK.all(asked)[user], NETWORK.of_new(asked, user, fresh)),
            (whole(LINEAR, asked)[user], LINEAR.of_new(asked, user, fresh)),
        ):
            expected = (logits[items] * weights).sum(1)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@given(item_lists, st.integers(0, 99))
def test_the_networks_term_of_some_items_is_that_of_the_whole_catalogue(
    items: list[int], seed: int
) -> None:
    asked = users([[1], []], seed)
    for user, logits in enumerate(NETWORK.all(asked)):
        found = NETWORK.of(asked, user, np.array(items, np.int32))
        np.testing.assert_allclose(found, logits[items], rtol=1e-5, atol=1e-5)
    expected = asked.states @ CATALOGUE.vectors.T + CATALOGUE.bias
    np.testing.assert_allclose(NETWORK.all(asked), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads take turns after every few instructions."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("impatient_threads")
def test_threads_do_not_meet_in_the_row_that_is_kept() -> None:
    term = LinearTerm(CATALOGUE.linear_index, CATALOGUE.linear_value, CATALOGUE.decay)
    of = [np.random.default_rng(seed).integers(0, ITEMS, MAX_HISTORY).tolist() for seed in range(8)]
    asked, everything = users(of), np.arange(ITEMS, dtype=np.int32)
    expected = [term.of(asked, user, everything) for user in range(len(of))]

    start = threading.Barrier(len(of))

    def repeat(user: int) -> bool:
        start.wait()
        return all(
            np.array_equal(term.of(asked, user, everything), expected[user]) for _ in range(300)
        )

    with ThreadPoolExecutor(len(of)) as pool:
        assert all(pool.map(repeat, range(len(of))))


@pytest.mark.parametrize("own", [False, True])
def test_the_trend_is_that_of_the_users_moment(own: bool) -> None:
    term = TrendTerm()
    rows = [TrendRow(np.arange(ITEMS, dtype=np.float32) * (1 + user), user) for user in range(2)]
    asked = replace(users([[1], [], [2]]), trend=[rows[0], rows[1], rows[0]] if own else rows[:1])
    everything = whole(term, asked)
    fresh = NewItems(
        np.zeros((2, WIDTH), np.float32),
        np.zeros(2, np.float32),
        np.zeros((2, 3), np.int32),
        np.ones((2, 3), np.float32),
    )
    for user in range(3):
        expected = rows[user % 2 if own else 0].logits
        np.testing.assert_array_equal(everything[user], expected)
        np.testing.assert_array_equal(
            term.of(asked, user, np.array([4, 1, 4])), expected[[4, 1, 4]]
        )
        # Nothing has happened with a new item.
        np.testing.assert_array_equal(term.of_new(asked, user, fresh), [0, 0])
        some = asked[[user]]
        np.testing.assert_array_equal(some.trend_of(0).logits, expected)
