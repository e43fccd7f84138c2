"""Chooses the linear term on the validation users, beside a trained network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.evaluation.ranking import rank_scores
from builder.model.linear import EASE_LIMIT, LinearTerm, ease, item_neighbours
from builder.model.recommender import linear_scores
from builder.progress import Progress, silent

log = logging.getLogger(__name__)

REGULARISATION: Final = (100.0, 200.0, 400.0, 800.0)
DECAY: Final = (1.0, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
WEIGHT: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
MOST_USERS: Final = 2_000
"""Validation users that the choice is made on; more would not change it, and cost time."""


def linear_terms(train: Sequences, items: int, keep: int) -> Iterator[LinearTerm]:
    """Candidates for B: EASE of several regularisations, or neighbours where n is too large."""
    if items > EASE_LIMIT:
        yield item_neighbours(train, items, shrinkage=10.0, keep=keep)
        return
    for regularisation in REGULARISATION:
        yield LinearTerm.pruned(ease(train, items, regularisation=regularisation), keep)


def choose_linear(
    terms: list[LinearTerm],
    network: NDArray[np.float32],
    validation: Holdout,
    max_history: int,
    *,
    progress: Progress = silent,
) -> LinearTerm:
    """The term, decay and weight with the best NDCG@10 beside the network's logits FP32 [U, n]."""
    best, best_ndcg = terms[0], -1.0
    grid = [(term, decay) for term in terms for decay in DECAY]
    for done, (term, decay) in enumerate(grid, 1):
        linear = linear_scores(
            term.weighted(decay=decay, weight=1), validation.histories, max_history
        )
        for weight in WEIGHT:
            ndcg = _ndcg(network + np.float32(weight) * linear, validation)
            if ndcg > best_ndcg:
                best, best_ndcg = term.weighted(decay=decay, weight=weight), ndcg
        progress("choose the linear term", done, len(grid))
    log.info(
        "linear term: decay %g, weight %g; validation NDCG@10 %.4f",
        best.decay,
        best.weight,
        best_ndcg,
    )
    return best


def _ndcg(scores: NDArray[np.float32], validation: Holdout) -> float:
    rank = rank_scores(scores, validation.histories, validation.targets)
    return float(np.mean(np.where(rank <= 10, 1 / np.log2(1.0 + rank), 0.0)))
