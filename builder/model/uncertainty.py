"""How uncertain the logits of items are: what exploration by Thompson sampling and UCB goes by."""

from __future__ import annotations

from typing import Final

import numpy as np

from builder.data.sequences import Sequences
from builder.model.popularity import UNKNOWN, Popularity
from model_repository.core.arrays import Floats

UNEXPLAINED: Final = 0.03
"""Variance that more events do not take away: what the model gets wrong of every item."""


def uncertainties(popularity: Popularity, histories: Sequences, items: int) -> Floats:
    """Standard deviations FP32 [n] of the logits of so many items, those without events included.

    The variance of an item with e events is ``0.03 + 1 / (1 + e)``. The second part is a Laplace
    approximation of the last layer, of the item's bias alone: the diagonal of the Hessian of the
    softmax loss is ``Σ p (1 - p)`` over all events, and where the loss is least ``Σ p`` is e. The 1
    is a prior of variance 1. ``python -m perf uncertainty`` holds it against events that were not
    learnt from.

    A bootstrap of the linear term is no substitute. It has no variance where there are no events,
    so what nothing is known of would be the most certain.

    ``histories`` are counted where a checkpoint holds no ``popularity``.
    """
    if popularity is UNKNOWN:
        popularity = Popularity.of(histories, items)
    variance = UNEXPLAINED + np.exp(-popularity.of_all(items).events)
    found: Floats = np.sqrt(variance).astype(np.float32)
    return found
