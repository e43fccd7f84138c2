from __future__ import annotations

import numpy as np

from builder.data.sequences import Sequences
from builder.export.popularity import LONGEST, most_popular


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
