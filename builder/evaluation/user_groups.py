"""Groups of users, so that a mean does not hide users whom the model serves badly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from builder.data.splits import Holdout

Groups = dict[str, NDArray[np.bool_]]
"""Name of a group → BOOL [U], its users; every user is in exactly one."""


def by_history_length(holdout: Holdout) -> Groups:
    lengths = holdout.histories.lengths
    return {
        "0": lengths == 0,
        "1–4": (lengths >= 1) & (lengths < 5),
        "5–19": (lengths >= 5) & (lengths < 20),
        "20+": lengths >= 20,
    }


def by_item_popularity(holdout: Holdout, counts: NDArray[np.int64]) -> Groups:
    """Groups by how popular the held-out item is, given training events INT64 [n] of each item.

    *Head* are the tenth of the items that have events with the most of them, *middle* the next four
    tenths, *tail* the rest.
    """
    order = np.argsort(-counts, kind="stable")
    place = np.empty(len(counts), np.int64)
    place[order] = np.arange(len(counts))
    share = place[holdout.targets] / max(np.count_nonzero(counts), 1)
    warm = counts[holdout.targets] > 0
    return {
        "head": warm & (share < 0.1),
        "middle": warm & (share >= 0.1) & (share < 0.5),
        "tail": warm & (share >= 0.5),
        "no events": ~warm,
    }
