"""A replay asks about each event of the test window, in the order of time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builder.data import Sequences, Split, leave_one_out, temporal_split
from builder.data import replay as module
from builder.data.decayed_counts import DecayedCounts
from builder.data.replay import replayed
from tests.unit.builder.model.tiny import sequences

TRAIN, VALIDATION, TEST = 0, 100, 200


def log() -> Sequences:
    return sequences(
        [0, 1, 2, 3, 4], [5, 6, 7, 8], [9],
        times=[[1, 110, 201, 205, 205], [2, 120, 202, 210], [204]],
        target=[[1, 1, 1, 0, 1], [1, 1, 1, 1], [1]],
    )  # fmt: skip


def split(events: Sequences | None = None) -> Split:
    return temporal_split(events or log(), VALIDATION, TEST)


def test_every_target_of_the_window_in_the_order_of_time() -> None:
    test = replayed(split()).test
    known = test.histories
    asked = list(zip(known.user_ids, test.targets.tolist(), strict=True))
    # The event on item 3 is context: known, and not asked about.
    assert asked == [("u0", 2), ("u1", 7), ("u2", 9), ("u0", 4), ("u1", 8)]
    assert known.request_times is not None
    assert known.request_times.tolist() == [201, 202, 204, 205, 210]
    histories = [known.items_of(row).tolist() for row in range(len(test))]
    assert histories == [[0, 1], [5, 6], [], [0, 1, 2, 3], [5, 6, 7]]


def test_what_is_learnt_stays_as_it_was() -> None:
    before, after = split(), replayed(split())
    assert after.learnt is not after.everything
    for one, other in ((before.train, after.train), (before.learnt, after.learnt)):
        assert other.items.tolist() == one.items.tolist()
        assert other.times is not None
        assert other.times.max() < TEST


def test_validation_is_asked_as_the_test_is() -> None:
    events = sequences([0, 1, 2, 3], [5, 6, 7], times=[[1, 110, 130, 205], [2, 120, 202]])
    found = replayed(split(events))
    asked = found.validation.histories
    assert found.validation.targets.tolist() == [1, 6, 2]
    assert [asked.items_of(row).tolist() for row in range(3)] == [[0], [5], [0, 1]]
    times = asked.request_times
    assert times is not None
    assert times.tolist() == [110, 120, 130]
    counts = DecayedCounts(found.counted_on_validation, 10, np.inf).at(times)
    assert [np.flatnonzero(row).tolist() for row in counts] == [[0, 5], [0, 1, 5], [0, 1, 5, 6]]
    assert split(events).counted_on_validation.items.tolist() == [0, 5]


def test_counts_know_the_window_up_to_the_target_and_no_further() -> None:
    found = replayed(split())
    times = found.test.histories.request_times
    assert times is not None
    counts = DecayedCounts(found.counted, 10, np.inf).at(times)
    # At 205: items 2, 7 and 9 of the window; neither 3 and 4, at this second, nor 8, which follows.
    assert np.flatnonzero(counts[3]).tolist() == [0, 1, 2, 5, 6, 7, 9]
    assert not counts[np.arange(len(counts)), found.test.targets].any()
    still = DecayedCounts(split().counted, 10, np.inf).at(times)
    assert np.flatnonzero(still[3]).tolist() == [0, 1, 5, 6]


def test_a_planted_event_of_the_future_changes_nothing() -> None:
    events = log()
    planted = sequences(
        [0, 1, 2, 3, 4], [5, 6, 7, 8], [9], [4, 4, 4],
        times=[[1, 110, 201, 205, 205], [2, 120, 202, 210], [204], [205, 206, 209]],
        target=[[1, 1, 1, 0, 1], [1, 1, 1, 1], [1], [1, 1, 1]],
    )  # fmt: skip
    asked = np.array([205], np.int64)
    honest, leaking = (
        DecayedCounts(replayed(split(each)).counted, 10, 1_000.0).at(asked)
        for each in (events, planted)
    )
    np.testing.assert_array_equal(honest, leaking)


def test_many_events_are_asked_about_evenly_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    test = replayed(split()).test
    assert test.targets.tolist() == [2, 9, 8]


def test_only_a_temporal_split_is_replayed() -> None:
    with pytest.raises(ValueError, match="only a temporal split"):
        replayed(leave_one_out(replace(log(), target=None)))
