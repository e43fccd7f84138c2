"""Chooses on the validation users how far cold items may come forward."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.evaluation.ranking import ndcg

log = logging.getLogger(__name__)

CUTS: Final[tuple[float, ...]] = tuple(np.arange(-3.0, 6.01, 0.125).tolist())
"""What is taken off a cold item's logit; below 0 it is put before its neighbours.

At -3 it is taken for 20 times as likely as they are. Where few items are cold, more would still
cost the others little enough: 36 films on MovieLens-100K at -4.6, where they fill everybody's list
and the known ones lose 6 % of NDCG@10 on the test users, and nothing at -3."""


def choose_cut(
    scores: NDArray[np.float32], cold: NDArray[np.bool_], validation: Holdout, cost: float
) -> float:
    """The least of `CUTS` that costs no more than a share `cost` of the best NDCG@10.

    ``scores`` FP32 [U, n] are the whole model's on `validation`, without a cut; ``cold`` is BOOL
    [n]. Validation cannot say what a cold item would gain, for it was never met there either, or
    hardly: only what it takes from the others. 0 where no item is cold.
    """
    if not cold.any():
        return 0.0
    found = {cut: ndcg(scores - np.float32(cut) * cold, validation, 10) for cut in CUTS}
    enough = (1 - cost) * max(found.values())
    chosen: float = next(cut for cut, figure in found.items() if figure >= enough)
    log.info(
        "%d items without training events take the place of their neighbours by text, less %g; "
        "validation NDCG@10 %.4f, at most %.4f",
        cold.sum(),
        chosen,
        found[chosen],
        max(found.values()),
    )
    return chosen
