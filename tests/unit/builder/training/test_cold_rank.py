from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.training.cold_rank import RANKS, choose_limit
from tests.unit.builder.model.tiny import sequences

ITEMS = 30
USERS = 100
SEEN = ITEMS - 1
COLD = np.arange(ITEMS) == 20
"""Of it nothing is known but that it stands last, so only its rank brings it forward."""


def holdout(ranks: list[int]) -> tuple[NDArray[np.float32], Holdout]:
    """Logits of items in their order, and users whose next item has each of these ranks."""
    logits = np.tile(-np.arange(ITEMS, dtype=np.float32), (len(ranks), 1))
    logits[:, COLD] = -100
    targets = np.array(ranks, np.int32) - 1
    return logits, Holdout(sequences(*[[SEEN]] * len(ranks)), targets)


def gain(rank: int) -> float:
    return 1 / np.log2(1 + rank) if rank <= 10 else 0.0


@pytest.mark.parametrize("nothing", [False, True])
@pytest.mark.parametrize("cost", [0, 0.02, 0.1, 0.3, 1])
def test_as_far_forward_as_the_known_items_can_bear(cost: float, *, nothing: bool) -> None:
    """Or could bear, where there is no cold item yet."""
    ranks = [1 + user % 10 for user in range(USERS)]
    logits, users = holdout(ranks)
    cold = np.zeros(ITEMS, bool) if nothing else COLD
    best = sum(map(gain, ranks))
    lost = {
        first: 1 - sum(gain(rank + (rank >= first)) for rank in ranks) / best for first in RANKS
    }
    chosen = choose_limit(logits.copy(), cold, users, cost)
    assert chosen == min(first for first in RANKS if lost[first] <= cost + 1e-9)


def test_where_they_cost_nothing_they_come_first() -> None:
    logits, users = holdout([1, 1, 15])
    assert choose_limit(logits, COLD, users, 0.0) == RANKS[0]
