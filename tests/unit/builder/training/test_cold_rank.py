"""Cold items are moved forward where that earns more than it costs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.training.cold_rank import RANKS, choose_cold_rank
from tests.unit.builder.model.tiny import sequences

ITEMS = 30
SEEN = ITEMS - 1
COLD = np.arange(ITEMS) == 20
"""Of it nothing is known but that it stands last, so only its rank brings it forward."""


def holdout(targets: list[int]) -> tuple[NDArray[np.float32], Holdout]:
    """Logits of items in their order, and users with these next items."""
    logits = np.tile(-np.arange(ITEMS, dtype=np.float32), (len(targets), 1))
    logits[:, COLD] = -100
    return logits, Holdout(sequences(*[[SEEN]] * len(targets)), np.array(targets, np.int32))


def test_where_nobody_wants_one_they_stay_behind() -> None:
    for targets in ([user % 10 for user in range(100)], [25] * 100):  # of the latter no rank tells
        assert choose_cold_rank(*_swapped(targets)) == 0


def test_where_most_want_one_it_comes_as_early_as_it_may() -> None:
    assert choose_cold_rank(*_swapped([20] * 90 + [0] * 10)) == RANKS[0]


def test_between_these_it_is_where_both_lose_least() -> None:
    # A user in eight wants the cold item; all others want one of the first three.
    targets = [20 if user % 8 == 0 else user % 3 for user in range(800)]
    assert choose_cold_rank(*_swapped(targets)) == 4


def test_what_may_be_chance_is_left() -> None:
    assert choose_cold_rank(*_swapped([20] * 3)) == RANKS[0]
    assert choose_cold_rank(*_swapped([20] + [15] * 200)) == 0


@pytest.mark.parametrize("cold", [np.zeros(ITEMS, bool), np.ones(ITEMS, bool)])
def test_without_known_or_cold_items_there_is_nothing_to_choose(cold: NDArray[np.bool_]) -> None:
    logits, users = holdout([3, 4])
    assert choose_cold_rank(logits, cold, users) == 0


def _swapped(targets: list[int]) -> tuple[NDArray[np.float32], NDArray[np.bool_], Holdout]:
    logits, users = holdout(targets)
    return logits, COLD, users
