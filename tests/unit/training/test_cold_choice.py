from __future__ import annotations

import numpy as np

from builder.data.splits import Holdout
from builder.training.cold_choice import CUTS, choose_cut
from tests.unit.model.tiny import sequences

USERS = 400
COST = 0.015
TARGETS = Holdout(sequences(*[[3]] * USERS), np.zeros(USERS, np.int32))
COLD = np.array([False, True, False, False])


def scores(ahead: int) -> np.ndarray:
    """Item 0 is met next by all; the cold item 1 stands 1 before it for `ahead` of the users."""
    rows = np.tile(np.float32([2, -50, 1, 0]), (USERS, 1))
    rows[:ahead, 1] = 3
    return rows


def test_as_far_forward_as_the_known_items_can_bear() -> None:
    # Rank 2 in place of 1 costs a user 1 - 1 / log2(3) = .37 of NDCG@10.
    bearable = int(USERS * COST / 0.37) - 1
    assert choose_cut(scores(bearable), COLD, TARGETS, COST) == CUTS[0]
    # Ties count against the target.
    assert choose_cut(scores(4 * bearable), COLD, TARGETS, COST) == min(
        cut for cut in CUTS if cut > 1
    )


def test_without_cold_items_there_is_nothing_to_cut() -> None:
    assert choose_cut(scores(USERS), np.zeros(4, bool), TARGETS, COST) == 0
