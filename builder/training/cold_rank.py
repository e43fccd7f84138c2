"""Chooses whether cold items are moved forward, on the validation users."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.evaluation.ranking import ndcg_gain, rank_scores
from builder.model.scoring import with_cold_items
from builder.training.improvement import is_better

log = logging.getLogger(__name__)

RANKS: Final = range(2, 12)
"""Ranks that the best cold item may have; the last one costs nothing within the first ten."""


def choose_cold_rank(
    logits: NDArray[np.float32], cold: NDArray[np.bool_], validation: Holdout
) -> int:
    """The one of `RANKS` with the best NDCG@10, 0 to leave cold items where their logits are.

    ``logits`` FP32 [U, n] are the full model's on `validation`; ``cold`` is BOOL [n]. Cold items
    take places from the others, and earn what those users gain whose next item is cold. They are
    moved only where they earn more than they cost, and more than by chance.
    """
    if cold.all():
        return 0

    def gains(rank: int) -> NDArray[np.float64]:
        moved = with_cold_items(logits, cold, validation.histories, rank)
        found = rank_scores(moved.copy(), validation.histories, validation.targets)
        return ndcg_gain(found, 10)

    before = gains(0)
    known = int(np.count_nonzero(~cold))
    figures = {rank: gains(rank) for rank in RANKS if rank <= known} if cold.any() else {}
    best = max(figures, key=lambda rank: figures[rank].mean(), default=0)
    if not best or not is_better(figures[best], before):
        return 0
    log.info(
        "items without training events are moved to rank %d: validation NDCG@10 %.4f, %.4f where "
        "they are not",
        best,
        figures[best].mean(),
        before.mean(),
    )
    return best
