"""What the model has to beat, under the same protocol and code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.evaluation.ranking import Scorer, rank_holdout
from builder.model.linear import EASE_LIMIT, ease, item_neighbours, recency_weights

EASE_REGULARISATION: Final = (30.0, 100.0, 300.0, 1000.0)
NEIGHBOUR_SHRINKAGE: Final = (0.0, 10.0, 100.0)
NEIGHBOURS: Final = 100
RECENCY_DECAY: Final = (0.98, 0.95, 0.9, 0.85, 0.8, 0.7)
"""Weight kept with each event of age, for EASE on recency-weighted histories."""


class Popularity:
    """Training events of each item, the same for everyone."""

    def __init__(self, train: Sequences, items: int) -> None:
        self._counts = np.bincount(train.items, minlength=items).astype(np.float32)

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        return np.tile(self._counts, (len(histories), 1))


class ItemWeights:
    """Sum of the rows of an item × item matrix FP32 [n, n], dense or sparse, over the history.

    An event of age a, 0 the latest, weighs ``decay ** a``.
    """

    def __init__(self, matrix: NDArray[np.float32] | sparse.csr_array, decay: float = 1.0) -> None:
        self._matrix = matrix
        self._decay = decay

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        longest = int(histories.lengths.max(initial=0))
        items = self._matrix.shape[0]
        weights = recency_weights(histories, items, decay=self._decay, max_history=longest)
        scores = weights @ self._matrix
        return np.asarray(scores.toarray() if sparse.issparse(scores) else scores, np.float32)


def baselines(train: Sequences, validation: Holdout, items: int) -> dict[str, Scorer]:
    """Popularity, ItemKNN and EASE, their one parameter each chosen on `validation`.

    EASE is left out above `EASE_LIMIT` items.
    """
    # Generators: of the large matrices only the best so far and the one being tried exist.
    neighbours = (
        ItemWeights(item_neighbours(train, items, shrinkage=each, keep=NEIGHBOURS).matrix)
        for each in NEIGHBOUR_SHRINKAGE
    )
    found: dict[str, Scorer] = {
        "popularity": Popularity(train, items),
        "ItemKNN": best_on(neighbours, validation, items),
    }
    if items <= EASE_LIMIT:
        weights = (
            ItemWeights(ease(train, items, regularisation=each)) for each in EASE_REGULARISATION
        )
        found["EASE"] = best_on(weights, validation, items)
    return found


def recency_ease(train: Sequences, validation: Holdout, items: int) -> Scorer:
    """EASE on histories in which older events weigh less, chosen on `validation`."""
    return best_on(
        (
            ItemWeights(matrix, decay)
            for matrix in (ease(train, items, regularisation=each) for each in EASE_REGULARISATION)
            for decay in RECENCY_DECAY
        ),
        validation,
        items,
    )


def best_on(scorers: Iterable[Scorer], validation: Holdout, items: int) -> Scorer:
    """The scorer with the highest NDCG@10 on `validation`."""
    return max(scorers, key=lambda scorer: rank_holdout(scorer, validation, items).ndcg(10))
