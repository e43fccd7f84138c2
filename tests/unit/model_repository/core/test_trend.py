"""Counts of events in which older ones weigh less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import trend
from model_repository.core.trend import NO_TREND, Snapshot, Trend, TrendRow, levels

DAY = 86_400
NOW = 1_700_000_000
ITEMS = 6
constants = st.sampled_from([3_600.0, float(DAY), 365.0 * DAY])
events = st.lists(
    st.tuples(st.integers(0, ITEMS - 2), st.integers(NOW - 4_000 * DAY, NOW)), max_size=20
)


def trend_of(happened: list[tuple[int, int]], constant: float = DAY) -> Trend:
    items = np.array([item for item, _ in happened], np.int32)
    times = np.array([time for _, time in happened], np.int64)
    until = int(times.max(initial=0))
    return Trend(constant, 1.5, levels(items, times, ITEMS, constant), until)


@given(events, constants, st.integers(0, 10_000 * DAY))
def test_each_event_counts_less_the_older_it_is(
    happened: list[tuple[int, int]], constant: float, later: int
) -> None:
    at = NOW + later
    found = trend_of(happened, constant).at(at)
    assert found.time == at
    assert found.logits.dtype == np.float32
    counts = [
        sum(np.exp((time - at) / constant) for each, time in happened if each == item)
        for item in range(ITEMS)
    ]
    np.testing.assert_allclose(found.logits, 1.5 * np.log1p(counts), rtol=1e-4, atol=1e-6)
    assert found.logits[ITEMS - 1] == 0  # it has no events


def test_events_that_are_counted_are_not_undone() -> None:
    counted = trend_of([(1, NOW - DAY), (2, NOW)])
    before = counted.at(NOW - 30 * DAY)
    assert before.time == NOW
    np.testing.assert_array_equal(before.logits, counted.at(NOW).logits)


@given(events, constants)
def test_an_event_is_added_in_any_order(happened: list[tuple[int, int]], constant: float) -> None:
    together = trend_of(happened, constant).level
    one_by_one = np.full_like(together, -np.inf)
    for item, time in reversed(happened):
        one_by_one[item] = np.logaddexp(one_by_one[item], time / constant)
    np.testing.assert_allclose(one_by_one, together, rtol=1e-12)


def test_without_weight_there_is_none() -> None:
    assert not NO_TREND
    assert trend_of([(0, NOW)])


class TestSnapshot:
    COUNTED = trend_of([(1, NOW - DAY), (2, NOW)])

    def test_without_a_time_it_is_that_of_the_last_event(self) -> None:
        (row,) = Snapshot(self.COUNTED).rows([0, 0, NOW - 5])
        assert row.time == NOW
        np.testing.assert_array_equal(row.logits, self.COUNTED.at(NOW).logits)

    def test_each_request_has_the_row_of_its_time(self) -> None:
        rows = Snapshot(self.COUNTED).rows([NOW + 9, 0, NOW + DAY, NOW + 9])
        assert [row.time for row in rows] == [NOW + 9, NOW, NOW + DAY, NOW + 9]
        for row in rows:
            np.testing.assert_array_equal(row.logits, self.COUNTED.at(row.time).logits)


@pytest.mark.parametrize(("most", "rest"), [(2, 3.0), (3, 1.0), (5, 0.0), (9, 0.0)])
def test_what_it_lifts_and_by_how_much_the_rest(
    monkeypatch: pytest.MonkeyPatch, most: int, rest: float
) -> None:
    monkeypatch.setattr(trend, "_LIFTED", most)
    items, others = TrendRow(np.array([0, 3, 1, 7, 4], np.float32), NOW).lifted
    assert items.tolist() == [3, 4, 1, 2, 0][:most]
    assert others == rest
