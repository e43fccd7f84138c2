"""The trend while events come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core.live_trend import LiveCounts, LiveTrend
from model_repository.core.trend import Trend, levels

DAY = 86_400.0
ITEMS = 5
UNTIL = 1_700_000_000
happened = st.lists(
    st.tuples(st.integers(0, ITEMS - 2), st.integers(UNTIL - 90 * 86_400, UNTIL + 9 * 86_400)),
    max_size=20,
)


class Clock:
    """Stands still, or takes a second each time it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def exported() -> Trend:
    items, times = np.array([0, 1, 1], np.int32), np.array([UNTIL - 99, UNTIL - 9, UNTIL])
    return Trend(DAY, 2.0, levels(items, times, ITEMS, DAY), UNTIL)


def live() -> LiveCounts:
    return LiveCounts(np.array([0, UNTIL], np.int64), exported().level.copy())


def count(counts: LiveCounts, *events: tuple[int, int]) -> None:
    rows = np.array(events, np.int64).reshape(-1, 2)
    counts.add(rows[:, 0].astype(np.int32), rows[:, 1], DAY)


@given(st.lists(happened, max_size=5))
def test_the_row_is_that_of_all_events(batches: list[list[tuple[int, int]]]) -> None:
    counts = live()
    for batch in batches:
        count(counts, *batch)
    everything = [(0, UNTIL - 99), (1, UNTIL - 9), (1, UNTIL), *(e for b in batches for e in b)]
    items, times = (np.array(column) for column in zip(*everything, strict=True))
    last = int(times.max())
    whole = Trend(DAY, 2.0, levels(items.astype(np.int32), times, ITEMS, DAY), last)
    (row,) = LiveTrend(exported(), lambda: counts).rows([0, 0])
    assert row.time == last == counts.last
    np.testing.assert_allclose(row.logits, whole.at(last).logits, rtol=1e-5)


def test_an_event_is_in_the_next_row(clock: Clock) -> None:
    counts = live()
    trend = LiveTrend(exported(), lambda: counts, clock)
    (before,) = trend.rows([0])
    assert before.logits[3] == 0
    count(counts, (3, UNTIL + 60))
    (after,) = trend.rows([0])
    assert after.logits[3] == pytest.approx(2 * np.log(2))
    assert after.time == UNTIL + 60


def test_late_events_leave_the_time_as_it_is(clock: Clock) -> None:
    counts = live()
    count(counts, (3, UNTIL - 86_400))
    (row,) = LiveTrend(exported(), lambda: counts, clock).rows([0])
    assert row.time == UNTIL
    assert row.logits[3] == pytest.approx(2 * np.log1p(np.exp(-1)))


def test_rows_take_a_twentieth_of_the_time(clock: Clock) -> None:
    counts = live()
    trend = LiveTrend(exported(), lambda: counts, clock)
    clock.step = 1.0  # a row takes a second of the clock
    (first,) = trend.rows([0])
    clock.step = 0.0
    count(counts, (3, UNTIL + 1))
    clock.now += 19.0
    assert trend.rows([0]) == [first]
    clock.now += 1.0
    assert trend.rows([0])[0].logits[3] > 0


def test_without_events_nothing_is_computed_anew(clock: Clock) -> None:
    trend = LiveTrend(exported(), live, clock)
    (first,) = trend.rows([0])
    found = live()
    trend = LiveTrend(exported(), lambda: found, clock)
    (first,) = trend.rows([0])
    clock.now += 1_000
    assert trend.rows([0]) == [first]


def test_a_time_that_the_log_covers_gets_what_was_exported(clock: Clock) -> None:
    counts = live()
    count(counts, (3, UNTIL - 1), (3, UNTIL + 1))
    trend = LiveTrend(exported(), lambda: counts, clock)
    for time in (1, UNTIL):
        (row,) = trend.rows([time])
        np.testing.assert_array_equal(row.logits, exported().at(UNTIL).logits)
        assert row.time == UNTIL


def test_a_later_time_gets_the_counts_as_of_then(clock: Clock) -> None:
    counts = live()
    count(counts, (3, UNTIL + 10))
    trend = LiveTrend(exported(), lambda: counts, clock)
    now, between, later = trend.rows([0, UNTIL + 5, UNTIL + 10 + 86_400])
    assert between is now
    assert later.time == UNTIL + 10 + 86_400
    assert later.logits[3] == pytest.approx(2 * np.log1p(np.exp(-1)))


def test_until_there_are_counts_it_is_the_log(clock: Clock) -> None:
    found: list[LiveCounts] = []
    trend = LiveTrend(exported(), lambda: found[0] if found else None, clock)
    assert trend.rows([0])[0].time == UNTIL
    assert trend.rows([UNTIL + 77])[0].time == UNTIL + 77
    found.append(live())
    count(found[0], (3, UNTIL + 3))
    assert trend.rows([0])[0].time == UNTIL + 3
    # Another process has begun to count, as often as this one.
    found[0] = live()
    count(found[0], (2, UNTIL + 4))
    assert trend.rows([0])[0].time == UNTIL + 4
