from __future__ import annotations

from dataclasses import replace

import numpy as np

from builder.data.sequences import Sequences
from builder.export.popularity import LONGEST, most_popular, with_popularity
from tests.unit.model_repository.catalogues import catalogue


def histories(items: list[int]) -> Sequences:
    return Sequences(
        ["a"], np.array([0, len(items)]), np.array(items, np.int32), times=None, actions=None
    )


def test_most_events_come_first_and_equal_ones_in_their_order() -> None:
    found = most_popular(histories([3, 1, 3, 0, 5, 5, 3, 1]), 7)
    assert found.tolist() == [3, 1, 5, 0]
    assert found.dtype == np.int32


def test_the_list_is_no_longer_than_it_need_be() -> None:
    found = most_popular(histories([*range(LONGEST + 5), LONGEST + 4]), LONGEST + 5)
    assert found.tolist() == [LONGEST + 4, *range(LONGEST - 1)]


def test_without_events_there_is_none() -> None:
    assert most_popular(histories([]), 3).tolist() == []


def test_the_events_of_each_item_are_counted_where_the_model_does_not_know_them() -> None:
    log, known = histories([3, 1, 3]), catalogue(4)
    found = with_popularity(known, log)
    assert found.popular.tolist() == [3, 1]
    assert np.expm1(found.log_events).round(4).tolist() == [0, 1, 0, 2]
    assert found.log_events.dtype == np.float32
    learnt = np.arange(4, dtype=np.float32)
    assert with_popularity(replace(known, log_events=learnt), log).log_events is learnt
