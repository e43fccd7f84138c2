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


class Popularity:
    """Training events of each item, the same for everyone."""

    def __init__(self, train: Sequences, items: int) -> None:
        self._counts = np.bincount(train.items, minlength=items).astype(np.float32)

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        return np.tile(self._counts, (len(histories), 1))


class ItemWeights:
    """Sum of the rows of an item × item matrix FP32 [n, n], dense or sparse, over the history."""

    def __init__(self, matrix: NDArray[np.float32] | sparse.csr_array) -> None:
        self._matrix = matrix

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        longest = int(histories.lengths.max(initial=0))
        items = self._matrix.shape[0]
        weights = recency_weights(histories, items, decay=1.0, max_history=longest)
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
        "ItemKNN": _best(neighbours, validation, items),
    }
    if items <= EASE_LIMIT:
        weights = (
            ItemWeights(ease(train, items, regularisation=each)) for each in EASE_REGULARISATION
        )
        found["EASE"] = _best(weights, validation, items)
    return found


def _best(scorers: Iterable[ItemWeights], validation: Holdout, items: int) -> Scorer:
    return max(scorers, key=lambda scorer: rank_holdout(scorer, validation, items).ndcg(10))
