"""Chooses the first rank of cold items on the validation users."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.evaluation.ranking import ndcg
from builder.model.scoring import with_cold_items

log = logging.getLogger(__name__)

RANKS: Final = range(2, 12)
"""Ranks that the best cold item may have; the last one costs nothing within the first ten."""


def choose_limit(
    logits: NDArray[np.float32], cold: NDArray[np.bool_], validation: Holdout, cost: float
) -> int:
    """The first of `RANKS` that costs no more than a share `cost` of the NDCG@10, 0 if none.

    ``logits`` FP32 [U, n] are the full model's on `validation`; ``cold`` is BOOL [n]. Validation
    cannot say what a cold item would gain, because it hardly has an event there. It only says what
    cold items take from the others. Where no item is cold, one that no user wants is added: a
    server may be given new items later.
    """
    known = int(np.count_nonzero(~cold))
    if known == len(cold):
        logits = np.pad(logits, ((0, 0), (0, 1)), constant_values=logits.min())
        cold = np.append(cold, np.True_)
    histories = validation.histories
    found = {
        rank: ndcg(with_cold_items(logits, cold, histories, rank), validation, 10)
        for rank in (0, *RANKS)
        if rank <= known
    }
    enough = (1 - cost) * max(found.values())
    chosen = next((rank for rank in RANKS if found.get(rank, -1.0) >= enough), 0)
    log.info(
        "cold items (without training events) may have rank %d and later ones: validation NDCG@10 "
        "of the warm items %.4f, without cold items %.4f",
        chosen,
        found[chosen],
        max(found.values()),
    )
    return chosen
