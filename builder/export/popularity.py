"""The list that is recommended where nothing is known of a user's state."""

from __future__ import annotations

from typing import Final

import numpy as np

from builder.data.sequences import Sequences
from model_repository.core.arrays import Indices

LONGEST: Final = 1_000
"""Items of the list: enough that some are left without those that a user has seen."""


def most_popular(histories: Sequences, items: int) -> Indices:
    """The items INT32 [p] with the most events, most first; equal ones in the catalogue's order.

    ``items`` is how many the catalogue has. Those without an event are left out.
    """
    counts = np.bincount(histories.items, minlength=items)
    order = np.argsort(-counts, kind="stable")[:LONGEST]
    found: Indices = order[counts[order] > 0].astype(np.int32)
    return found
