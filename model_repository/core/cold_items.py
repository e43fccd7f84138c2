"""Ranks of cold items, those without training events, in a list of recommendations.

A cold item has the mean logit of its neighbours (`items`), which hardly ever beats the best warm
items. So the cold items of a user are moved forward together, until the best of them has a given
rank. Their logits keep their differences.
"""

from __future__ import annotations

import numpy as np

from .arrays import Floats, Indices
from .top_k import largest, take


def lift(known: Floats, cold: Floats, ranks: Indices) -> Floats:
    """What to add to the logits of each user's cold items, FP32 [U].

    ``known`` FP32 [U, m] are the largest logits of the others, largest first, ``cold`` FP32 [U] the
    largest of the cold ones. The best cold item is moved halfway between the two known items around
    its rank in ``ranks`` INT32 [U], 2 or more, so that no rounding changes its rank. 0 where the
    rank is 0, where its own logit ranks it higher, and where one of these items is not among the m
    or masked, -inf.
    """
    users, width = np.arange(len(known)), known.shape[1]
    place = np.clip(ranks, 1, width) - 1
    before, after = known[users, place - 1], known[users, place]
    there = (ranks > 1) & (ranks <= width) & np.isfinite(after) & np.isfinite(cold)
    added = np.zeros_like(cold)
    np.subtract((before + after) / 2, cold, out=added, where=there)
    return np.maximum(added, 0, out=added)


def lifts(logits: Floats, cold: Indices, ranks: Indices) -> Floats:
    """`lift` of each user FP32 [U], given logits FP32 [U, n] of the whole catalogue.

    ``cold`` INT32 [c] are the items that are moved; what is masked is -inf.
    """
    known = logits.copy()
    known[:, cold] = -np.inf
    best = take(known, largest(known, min(int(ranks.max(initial=1)), known.shape[1])))
    return lift(best, logits[:, cold].max(axis=1), ranks)


def merged(
    best: Floats, places: Indices, cold_logits: Floats, cold: Indices, ranks: Indices, wanted: int
) -> tuple[Floats, Indices]:
    """The best ``wanted`` of known and cold items: logits FP32 and indices INT32 [U, k].

    ``best`` FP32 [U, m] are the largest logits of the known items, largest first, and ``places``
    INT32 their indices; ``cold_logits`` FP32 [U, c] are those of the items ``cold``, 1 or more.
    ``ranks`` and m are those of `lift`.
    """
    first = largest(cold_logits, min(wanted, cold_logits.shape[1]))
    lifted = take(cold_logits, first)
    lifted += lift(best, lifted[:, 0], ranks)[:, np.newaxis]
    together = np.concatenate([best, lifted], axis=1)
    indices = np.concatenate([places, cold[first]], axis=1)
    order = largest(together, min(wanted, together.shape[1]))
    return take(together, order), take(indices, order)
