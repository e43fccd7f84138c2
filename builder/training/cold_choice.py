"""Chooses on the validation users how far cold items may come forward."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.evaluation.ranking import ndcg
from builder.model.scoring import with_cold_items

log = logging.getLogger(__name__)

PLACES: Final = range(2, 12)
"""Where the best cold item may come in a list; the last costs nothing within the first ten."""


def choose_limit(
    logits: NDArray[np.float32], cold: NDArray[np.bool_], validation: Holdout, cost: float
) -> int:
    """The foremost of `PLACES` that costs no more than a share `cost` of the NDCG@10, 0 if none.

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
        place: ndcg(with_cold_items(logits, cold, histories, place), validation, 10)
        for place in (0, *PLACES)
        if place <= known
    }
    enough = (1 - cost) * max(found.values())
    chosen = next((place for place in PLACES if found.get(place, -1.0) >= enough), 0)
    log.info(
        "items without training events may come at place %d of a list and behind it: validation "
        "NDCG@10 of the others %.4f, without them %.4f",
        chosen,
        found[chosen],
        max(found.values()),
    )
    return chosen
