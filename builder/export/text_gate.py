"""The text gate: an engine of reduced precision must place texts as well as the checkpoint does.

The vectors of the catalogue are the checkpoint's own whatever the engine, so the ranking gate would
not see what an engine does to a text that comes with a request. Here each item stands for such a
text: it is known by nothing but its own text, and by what its neighbours are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.data.splits import Holdout
from builder.errors import GateError
from builder.evaluation.ranking import ndcg_gain, user_chunk
from builder.export.ranking_gate import CUTOFF, RankingFigure
from builder.model.neighbourhood import served_neighbourhood
from builder.model.recommender import Recommender
from model_repository.core.items import weigh

_OTHERS: Final = 99
_DRAWS: Final = 10
_ROWS: Final = 1_000
"""Texts that neighbours are sought for at a time."""


def check_texts(
    model: Recommender, served: Recommender, validation: Holdout, *, bound: float
) -> RankingFigure:
    """Compare NDCG@10 of what a user did next, among 99 others, drawn ten times: all new texts.

    ``served`` is `model` with the text vectors of the engine. ``bound`` is the largest relative
    loss allowed.

    Raises
    ------
    GateError
        The engine loses more.
    """
    weights = _placed(model), _placed(served)
    random = np.random.default_rng(0)
    items = len(model.catalogue)
    gains: tuple[list[NDArray[np.float64]], ...] = ([], [])
    scorer = model.scorer()
    for part in validation.chunks(user_chunk(items)):
        logits = scorer.logits(part.histories)
        others = random.integers(0, items, (len(part), _DRAWS, _OTHERS), dtype=np.int64)
        for gain, weight in zip(gains, weights, strict=True):
            gain.append(_gains((weight @ logits.T).T, others, part.targets.astype(np.int64)))
    checkpoint, engine = (float(np.concatenate(gain).mean()) for gain in gains)
    loss = (checkpoint - engine) / checkpoint if checkpoint else 0.0
    if not loss <= bound:
        raise GateError(
            f"texts: NDCG@{CUTOFF} on {len(validation)} validation users, all items taken for new "
            f"texts, is {engine:.4f} with the engine's vectors and {checkpoint:.4f} with the "
            f"checkpoint's, {loss:.2%} less, and {bound:.2%} is allowed; nothing was published. "
            "Export with --precision fp32"
        )
    return RankingFigure(len(validation), checkpoint, engine, loss, bound)


def _placed(model: Recommender) -> sparse.csr_array:
    """FP32 [n, n]: what each item, taken for a new text, is the mean of."""
    nearby = served_neighbourhood(model)
    directions = nearby.directions_of(model.text_vectors.numpy())
    found = []
    for start in range(0, len(directions), _ROWS):
        alike = directions[start : start + _ROWS] @ nearby.directions.T
        # No item is a neighbour of its own.
        own = np.arange(start, start + len(alike))[:, np.newaxis] == nearby.items
        found.append(weigh(np.where(own, alike.min(axis=1, keepdims=True), alike)))
    places, weights = (np.concatenate(each) for each in zip(*found, strict=True))
    neighbours = nearby.items[places]
    items, keep = neighbours.shape
    where = (np.repeat(np.arange(items), keep), neighbours.ravel())
    return sparse.csr_array((weights.ravel(), where), shape=(items, items))


def _gains(
    scores: NDArray[np.float32], others: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """FP64 [U, draws] of scores FP32 [U, n], ties against the target."""
    users = np.arange(len(scores))
    own = scores[users, targets][:, np.newaxis, np.newaxis]
    beaten = scores[users[:, np.newaxis, np.newaxis], others] >= own
    rank = 1 + (beaten & (others != targets[:, np.newaxis, np.newaxis])).sum(axis=2)
    return ndcg_gain(rank, CUTOFF)
