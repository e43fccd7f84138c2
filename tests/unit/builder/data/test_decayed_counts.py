"""Counts know what was before a moment, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.data.decayed_counts import DecayedCounts
from tests.unit.builder.model.tiny import sequences

DAY = 86_400


def at(*times: int) -> NDArray[np.int64]:
    return np.array(times, np.int64)


def test_worked_out_by_hand() -> None:
    log = sequences([0, 1], [1], times=[[0, 100], [50]])
    counts = DecayedCounts(log, 3, time_constant=100.0).at(at(200, 75))
    assert counts.dtype == np.float32
    expected = [
        [np.exp(-1), 1 + np.exp(-0.5), 0],
        [np.exp(-0.5), 1, 0],
    ]
    np.testing.assert_allclose(counts, expected, rtol=1e-6)


def test_an_event_at_the_moment_or_later_is_a_leak_and_does_not_count() -> None:
    honest = sequences([0, 1], times=[[10, 20]])
    # Planted: the target's own event, somebody else's at the very same second, and later ones.
    planted = sequences([0, 1, 2], [2, 2], times=[[10, 20, 30], [30, 31]])
    asked = at(30)
    expected = DecayedCounts(honest, 3, DAY).at(asked)
    np.testing.assert_array_equal(DecayedCounts(planted, 3, DAY).at(asked), expected)
    assert expected[0, 2] == 0
    # One second later all but the last are known: the plant was there to be found.
    assert DecayedCounts(planted, 3, DAY).at(at(31))[0, 2] == pytest.approx(2, rel=1e-3)


def test_before_the_first_event_nothing_is_known() -> None:
    log = sequences([0], times=[[100]])
    assert not DecayedCounts(log, 2, DAY).at(at(100, -5, 0)).any()
    assert DecayedCounts(log, 2, DAY).at(at()).shape == (0, 2)


def test_a_long_log_neither_overflows_nor_warns() -> None:
    years = 50 * 365 * DAY
    log = sequences([0, 1, 1], times=[[-years, years, 2**40]])
    counts = DecayedCounts(log, 2, 3_600.0).at(at(years + 1, 2**40 + 1))
    np.testing.assert_allclose(counts, [[0, 1], [0, 1]], atol=1e-3)


def test_without_decay_it_counts() -> None:
    log = sequences([0, 0, 1], [0], times=[[1, 2, 3], [9]])
    assert DecayedCounts(log, 2, np.inf).at(at(9, 10)).tolist() == [[2, 1], [3, 1]]


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="need a log with times"):
        DecayedCounts(sequences([0]), 1, DAY)
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="above 0 seconds"):
            DecayedCounts(sequences([0], times=[[0]]), 1, wrong)


EVENT = st.tuples(st.integers(0, 3), st.integers(-40, 40))


@given(
    st.lists(st.lists(EVENT, max_size=6), min_size=1, max_size=4),
    st.lists(st.integers(-50, 50), max_size=8),
    st.sampled_from([0.5, 7.0, 1e6]),
)
def test_agrees_with_the_sum_itself(
    users: Sequence[Sequence[tuple[int, int]]], moments: list[int], time_constant: float
) -> None:
    log = sequences(
        *([item for item, _ in user] for user in users),
        times=[[time for _, time in user] for user in users],
    )
    expected = np.zeros((len(moments), 4))
    for row, moment in enumerate(moments):
        known = [(item, time) for user in users for item, time in user if time < moment]
        last = max((time for _, time in known), default=0)
        for item, time in known:
            expected[row, item] += np.exp(-(last - time) / time_constant)
    found = DecayedCounts(log, 4, time_constant).at(at(*moments))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)
