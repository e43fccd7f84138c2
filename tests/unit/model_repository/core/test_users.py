"""What users did, as the network over events is given it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core.users import (
    MOST_USERS,
    NO_AGE,
    NO_ITEM,
    History,
    ages,
    item_vectors,
    user_states,
)
from tests.unit.model_repository.catalogues import MAX_HISTORY, WIDTH, EventSums, catalogue

CATALOGUE = catalogue()
FRESH = np.random.default_rng(1).normal(size=(3, WIDTH)).astype(np.float32)
NOTHING = FRESH[:0]

events = st.lists(
    st.tuples(st.integers(-len(FRESH), len(CATALOGUE) - 1), st.integers(0, 2), st.integers(0, 999)),
    max_size=MAX_HISTORY,
)


def history(of: Sequence[tuple[int, int, int]]) -> History:
    """Slots, actions and the seconds since the event before."""
    slots, actions, seconds = zip(*of, strict=True) if of else ((), (), ())
    times = np.cumsum(np.array(seconds, np.int64))
    return History(np.array(slots, np.int32), np.array(actions, np.int32), ages(times))


class TestAges:
    def test_seconds_to_the_latest_event(self) -> None:
        found = ages(np.array([-5, 0, 0, 7]))
        assert found.tolist() == [12, 7, 7, 0]
        assert found.dtype == np.int64

    def test_a_new_user_has_none(self) -> None:
        assert ages(np.zeros(0, np.int64)).tolist() == []

    @given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6).map(sorted))
    def test_they_are_exact_and_never_overflow(self, times: list[int]) -> None:
        expected = [min(times[-1] - time, 2**62) for time in times]
        assert ages(np.array(times, np.int64)).tolist() == expected


class TestStates:
    @given(st.lists(events, min_size=1, max_size=9))
    def test_padding_to_the_lengths_of_an_engine_changes_nothing(
        self, users: list[list[tuple[int, int, int]]]
    ) -> None:
        histories = [history(each) for each in users]
        free, fixed = EventSums(), EventSums(lengths=(2, 3, MAX_HISTORY))
        found = [
            user_states(encode, histories, CATALOGUE.vectors, FRESH) for encode in (free, fixed)
        ]
        np.testing.assert_array_equal(found[0], found[1])
        assert {length for _, length in fixed.shapes} <= {2, 3, MAX_HISTORY}
        assert sum(users for users, _ in fixed.shapes) == len(histories)
        for user, each in enumerate(histories):
            alone = user_states(EventSums(), [each], CATALOGUE.vectors, FRESH)
            np.testing.assert_array_equal(found[0][user], alone[0])

    @pytest.mark.parametrize("lengths", [(), (4,)])
    def test_a_new_user_is_padded_to_one_event_that_does_not_count(
        self, lengths: Sequence[int]
    ) -> None:
        encode = EventSums(lengths)
        states = user_states(encode, [history([])], CATALOGUE.vectors, NOTHING)
        assert encode.shapes == [(1, lengths[0] if lengths else 1)]
        np.testing.assert_array_equal(states, np.full((1, WIDTH), 0.1, np.float32))

    def test_only_so_many_users_go_through_it_together(self) -> None:
        encode = EventSums()
        alike = [history([(number % 20, 0, 0)]) for number in range(2 * MOST_USERS + 3)]
        states = user_states(encode, alike, CATALOGUE.vectors, NOTHING)
        assert [users for users, _ in encode.shapes] == [MOST_USERS, MOST_USERS, 3]
        np.testing.assert_array_equal(states[20:40], states[:20])

    def test_what_is_not_known_is_marked(self) -> None:
        encode = EventSums(lengths=(3,))
        users = [history([(5, 0, 9)]), history([(3, 1, 0), (-2, 2, 60)])]
        user_states(encode, users, CATALOGUE.vectors, FRESH)
        (batch,) = encode.batches
        assert batch.counts.tolist() == [[1], [2]]
        assert batch.actions.tolist() == [[0, 0, 0], [1, 2, 0]]
        assert batch.ages.tolist() == [[0, NO_AGE, NO_AGE], [60, 0, NO_AGE]]
        np.testing.assert_array_equal(batch.vectors[0, 0], CATALOGUE.vectors[5])
        np.testing.assert_array_equal(batch.vectors[1, 0], CATALOGUE.vectors[3])
        np.testing.assert_array_equal(batch.vectors[1, 1], FRESH[1])


def test_vectors_of_slots() -> None:
    slots = np.array([[4, -1], [NO_ITEM, -3]], np.int32)
    found = item_vectors(slots, CATALOGUE.vectors, FRESH)
    assert found.shape == (2, 2, WIDTH)
    np.testing.assert_array_equal(found[0], [CATALOGUE.vectors[4], FRESH[0]])
    np.testing.assert_array_equal(found[1, 1], FRESH[2])
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(
        item_vectors(slots[:1, :1], CATALOGUE.vectors, NOTHING), found[:1, :1]
    )
    # The catalogue may be mapped from a file: nobody writes into it.
    assert not np.shares_memory(found, CATALOGUE.vectors)
