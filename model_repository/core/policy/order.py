"""What stages that choose a list have in common: how good a candidate is, and a list of some."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..arrays import LEAST, Floats, Indices
from ..catalogue import Candidates
from ..contract import TOP_K
from .base import Context

_MOST_SPARE = 50
"""Items chosen beyond the list, from which a stage that comes later fills it up. Each one costs as
much as one of the list."""


def picks(top_k: int) -> int:
    """How many items to choose for a list of ``top_k``, in the order in which they are wanted."""
    return top_k + min(-(-top_k // 2), _MOST_SPARE)


def ranked_logits(candidates: Candidates) -> Floats:
    """FP32 [m]: the candidate at rank r has the r-th largest of their logits.

    So what earlier stages made of the order counts. The interest would not do: it is near 1 for
    most of the best items. Popular items, which have no logit, have the logarithm of their score.
    """
    logit = candidates.logit
    if np.isnan(logit).any():
        logit = np.log(np.maximum(candidates.score, LEAST))
    descending: Floats = np.sort(logit)[::-1]
    return descending


def relevance(candidates: Candidates) -> Floats:
    """`ranked_logits` FP32 [m] from 1, the best candidate, to 0, the last one."""
    logit = ranked_logits(candidates)
    least = logit[-1]
    scaled: Floats = (logit - least) / max(logit[0] - least, LEAST)
    return scaled


def prefer(candidates: Candidates, places: Indices, context: Context, stage: str) -> Candidates:
    """The candidates at ``places`` INT32 [p] first, as ``stage`` wants them.

    The first ``top_k`` of these are a list, and stand in the order in which they were: what a list
    holds is the choice of a stage, and what stands on top of it the model's. The candidate at rank
    r has the r-th largest score.
    """
    top_k = context.options[TOP_K.name]
    listed = np.sort(places[:top_k])
    left = np.ones(len(candidates), np.bool_)
    left[places] = False
    order = np.concatenate([listed, places[top_k:], np.flatnonzero(left)])
    if (trace := context.trace) is not None:
        for rank, place in enumerate(listed.tolist(), 1):
            if place >= top_k:
                trace.note(candidates.index[place], f"{stage}: rank {place + 1} to {rank}")
    return replace(candidates[order], score=np.sort(candidates.score)[::-1])
