"""Where items without training events come in a list of recommendations.

What is known of them is their neighbours (`items`), whose mean hardly ever beats the best of the
others by itself. So they are moved forward together, for each user by as much as brings the best of
them to one place of the list; the others keep their distance to it.
"""

from __future__ import annotations

import numpy as np

from .arrays import Floats, Indices
from .top_k import largest, take


def lift(known: Floats, cold: Floats, place: int) -> Floats:
    """What to add to the logits of each user's cold items, FP32 [U].

    ``known`` FP32 [U, at least place] are the largest logits of the others, largest first, ``cold``
    FP32 [U] the largest of the cold ones. The best cold item comes halfway between the two known
    ones that it stands between at ``place``, 2 or more, so that no rounding moves it. 0 where it is
    further forward by itself, and where something of this is masked, -inf: there is nothing to
    move, or nothing to move it to.
    """
    before, after = known[:, place - 2], known[:, place - 1]
    there = np.isfinite(after) & np.isfinite(cold)
    added = np.zeros_like(cold)
    np.subtract((before + after) / 2, cold, out=added, where=there)
    return np.maximum(added, 0, out=added)


def lifts(logits: Floats, cold: Indices, place: int) -> Floats:
    """`lift` of each user FP32 [U], given logits FP32 [U, n] of the whole catalogue.

    ``cold`` INT32 [c] are the items that are moved; what is masked is -inf.
    """
    known = logits.copy()
    known[:, cold] = -np.inf
    best = take(known, largest(known, place))
    return lift(best, logits[:, cold].max(axis=1), place)


def merged(
    best: Floats, places: Indices, cold_logits: Floats, cold: Indices, place: int, wanted: int
) -> tuple[Floats, Indices]:
    """The best ``wanted`` of known and cold items: logits FP32 and indices INT32 [U, k].

    ``best`` FP32 [U, at least place] are the largest logits of the known items, largest first,
    ``places`` INT32 their indices; ``cold_logits`` FP32 [U, c] are those of the items ``cold``.
    """
    first = largest(cold_logits, min(wanted, cold_logits.shape[1]))
    lifted = take(cold_logits, first)
    if place:
        lifted += lift(best, lifted[:, 0], place)[:, np.newaxis]
    together = np.concatenate([best, lifted], axis=1)
    indices = np.concatenate([places, cold[first]], axis=1)
    order = largest(together, min(wanted, together.shape[1]))
    return take(together, order), take(indices, order)
