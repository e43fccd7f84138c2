"""Ranks of cold items, those without training events, in a list of recommendations.

A cold item has the mean logit of its neighbours (`items`), which hardly ever beats the best warm
items. So the cold items of a user are moved forward together, until the best of them has a given
rank. Their logits keep their differences.
"""

from __future__ import annotations

import numpy as np

from .arrays import Floats, Indices
from .top_k import largest, take


def lift(known: Floats, cold: Floats, rank: int) -> Floats:
    """What to add to the logits of each user's cold items, FP32 [U].

    ``known`` FP32 [U, at least rank] are the largest logits of the others, largest first, ``cold``
    FP32 [U] the largest of the cold ones. The best cold item is moved halfway between the two known
    items around ``rank``, 2 or more, so that no rounding changes its rank. 0 where its own logit
    ranks it higher, and where one of these items is masked, -inf.
    """
    before, after = known[:, rank - 2], known[:, rank - 1]
    there = np.isfinite(after) & np.isfinite(cold)
    added = np.zeros_like(cold)
    np.subtract((before + after) / 2, cold, out=added, where=there)
    return np.maximum(added, 0, out=added)


def lifts(logits: Floats, cold: Indices, rank: int) -> Floats:
    """`lift` of each user FP32 [U], given logits FP32 [U, n] of the whole catalogue.

    ``cold`` INT32 [c] are the items that are moved; what is masked is -inf.
    """
    known = logits.copy()
    known[:, cold] = -np.inf
    best = take(known, largest(known, rank))
    return lift(best, logits[:, cold].max(axis=1), rank)


def merged(
    best: Floats, places: Indices, cold_logits: Floats, cold: Indices, rank: int, wanted: int
) -> tuple[Floats, Indices]:
    """The best ``wanted`` of known and cold items: logits FP32 and indices INT32 [U, k].

    ``best`` FP32 [U, at least rank] are the largest logits of the known items, largest first,
    ``places`` INT32 their indices; ``cold_logits`` FP32 [U, c] are those of the items ``cold``.
    """
    first = largest(cold_logits, min(wanted, cold_logits.shape[1]))
    lifted = take(cold_logits, first)
    if rank:
        lifted += lift(best, lifted[:, 0], rank)[:, np.newaxis]
    together = np.concatenate([best, lifted], axis=1)
    indices = np.concatenate([places, cold[first]], axis=1)
    order = largest(together, min(wanted, together.shape[1]))
    return take(together, order), take(indices, order)
