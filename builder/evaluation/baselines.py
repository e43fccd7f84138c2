"""The baselines, under the same protocol and code as the model.

A log may have context, events that are no targets. A baseline then learns from one view of the
histories and is scored with it: the targets alone, as is usual, or all events alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.data.sequences import Sequences
from builder.data.splits import Split
from builder.evaluation.ranking import Scorer, rank_holdout
from builder.model.ease import ease
from builder.model.linear import item_neighbours, recency_weights
from builder.progress import Progress, silent

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


Fit = Callable[[Sequences], Scorer]
"""Works a baseline out from training histories."""
View = Callable[[Sequences], Sequences]


class Viewed:
    """A scorer that is asked with a view of the histories."""

    def __init__(self, scorer: Scorer, view: View) -> None:
        self._scorer = scorer
        self._view = view

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        return self._scorer.scores(self._view(histories))


@dataclass(frozen=True, eq=False)
class Fitted:
    """A baseline with the parameters that validation chose.

    Attributes
    ----------
    on_train
        Fitted to the training histories, to choose more on validation with.
    final
        Fitted to what may be learnt in the end, to be tested.
    """

    on_train: Scorer
    final: Scorer


def baselines(
    split: Split,
    items: int,
    view: View = Sequences.without_context,
    *,
    progress: Progress = silent,
) -> dict[str, Scorer]:
    """Popularity, ItemKNN and EASE, their one parameter each chosen on validation.

    They learn from what the model learns from.
    """
    train = view(split.train)

    def neighbours(shrinkage: float, train: Sequences) -> Scorer:
        return ItemWeights(
            item_neighbours(train, items, shrinkage=shrinkage, keep=NEIGHBOURS).matrix
        )

    def weights(ridge: float, train: Sequences) -> Scorer:
        return ItemWeights(ease(train, items, regularisation=ridge, progress=progress))

    # Of the large matrices only the best so far and the one being tried exist.
    shrunk = ((fit(train), fit) for fit in _each(neighbours, NEIGHBOUR_SHRINKAGE))
    found: dict[str, Scorer] = {
        "popularity": Popularity(view(split.learnt), items),
        "ItemKNN": best_on(
            told(shrunk, "tune ItemKNN", len(NEIGHBOUR_SHRINKAGE), progress), split, items, view
        ).final,
    }
    ridges = ((fit(train), fit) for fit in _each(weights, EASE_REGULARISATION))
    found["EASE"] = best_on(
        told(ridges, "tune EASE", len(EASE_REGULARISATION), progress), split, items, view
    ).final
    return found


def recency_ease(
    split: Split,
    items: int,
    view: View = Sequences.without_context,
    *,
    progress: Progress = silent,
) -> Fitted:
    """EASE on histories in which older events weigh less, chosen on validation."""

    def tried() -> Iterator[tuple[Scorer, Fit]]:
        for ridge in EASE_REGULARISATION:
            matrix = ease(view(split.train), items, regularisation=ridge, progress=progress)
            for decay in RECENCY_DECAY:
                yield ItemWeights(matrix, decay), partial(fit, ridge, decay)

    def fit(ridge: float, decay: float, train: Sequences) -> Scorer:
        matrix = ease(train, items, regularisation=ridge, progress=progress)
        return ItemWeights(matrix, decay)

    total = len(EASE_REGULARISATION) * len(RECENCY_DECAY)
    return best_on(told(tried(), "tune EASE with recency", total, progress), split, items, view)


def told(
    candidates: Iterator[tuple[Scorer, Fit]], task: str, total: int, progress: Progress
) -> Iterator[tuple[Scorer, Fit]]:
    """The same `total` candidates, with how many were worked out and ranked."""
    for done in range(total):
        progress(task, done, total)
        yield next(candidates)  # no variable keeps a matrix while the next is worked out
    progress(task, total, total)


def best_on(
    candidates: Iterable[tuple[Scorer, Fit]], split: Split, items: int, view: View
) -> Fitted:
    """What has the highest NDCG@10 on validation, fitted again if the validation events join in.

    ``candidates`` are scorers fitted to a view of the training histories, and how to do so.
    """

    def figure(candidate: tuple[Scorer, Fit]) -> float:
        return rank_holdout(Viewed(candidate[0], view), split.validation, items).ndcg(10)

    scorer, fit = max(candidates, key=figure)
    on_train = Viewed(scorer, view)
    if split.refit is None:
        return Fitted(on_train, on_train)
    return Fitted(on_train, Viewed(fit(view(split.refit)), view))


def _each(fit: Callable[[float, Sequences], Scorer], parameters: Iterable[float]) -> Iterator[Fit]:
    return (partial(fit, each) for each in parameters)
