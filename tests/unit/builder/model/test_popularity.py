from __future__ import annotations

import numpy as np

from builder.model.popularity import EARLIEST, Popularity
from tests.unit.builder.model.tiny import sequences

HISTORIES = ([0, 0, 1], [0, 2])
TIMES = ([10, 20, 40], [30, 50])


def test_events_are_taken_for_the_share_of_the_log_that_an_item_was_there() -> None:
    found = Popularity.of(sequences(*HISTORIES, times=TIMES), 4)
    np.testing.assert_allclose(found.events, np.log([4, 2, 2, 1]), rtol=1e-6)
    share = np.array([1, 0.4, 0.2, 0])  # an item without events was never there
    expected = np.log((1 + EARLIEST) / (share + EARLIEST))
    np.testing.assert_allclose(found.expected - found.events, expected, rtol=1e-5, atol=1e-6)
    assert found.events.dtype == found.expected.dtype == np.float32


def test_only_targets_are_counted_but_an_item_is_there_from_its_first_event() -> None:
    found = Popularity.of(
        sequences(*HISTORIES, times=TIMES, target=[[False, True, True], [True, False]]), 3
    )
    np.testing.assert_allclose(found.events, np.log([3, 2, 1]), rtol=1e-6)
    assert found.expected[0] == found.events[0]
    assert found.expected[2] > found.events[2]


def test_without_times_every_item_was_there_all_along() -> None:
    found = Popularity.of(sequences(*HISTORIES), 3)
    np.testing.assert_array_equal(found.events, found.expected)


def test_new_items_of_a_catalogue_have_none() -> None:
    found = Popularity.of(sequences(*HISTORIES), 3).of_all(5)
    for each in (found.events, found.expected):
        assert each[3:].tolist() == [0, 0]
        assert each[0] > 0
