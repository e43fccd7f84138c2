"""Implicit ALS as a baseline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.data.sequences import Sequences
from builder.data.splits import Split
from builder.evaluation.baselines import Fit, View, best_on, told
from builder.evaluation.ranking import Scorer
from builder.progress import Progress, silent

ALS_FACTORS: Final = (32, 64, 128)
ALS_REGULARISATION: Final = (1.0, 10.0, 50.0)
ALS_WEIGHT: Final = (1.0, 10.0)


def als_is_installed() -> bool:
    return find_spec("implicit") is not None


class ImplicitALS:
    """Matrix factorisation of seen items (Hu, Koren & Volinsky 2008), by the package implicit.

    A history is folded in: its user factors are solved for, so that users need not be known.
    """

    def __init__(
        self,
        train: Sequences,
        items: int,
        *,
        factors: int,
        regularisation: float,
        weight: float,
        seed: int = 0,
    ) -> None:
        # Imported here: an extra that few need.
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        self._one_thread = partial(threadpool_limits, 1, "blas")  # implicit warns of more
        self._items = items
        with self._one_thread():
            self._model = AlternatingLeastSquares(
                factors=factors,
                regularization=regularisation,
                alpha=weight,
                iterations=15,
                random_state=seed,
                num_threads=1,
            )
            self._model.fit(_seen(train, items), show_progress=False)

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        with self._one_thread():
            users = self._model.recalculate_user(
                np.arange(len(histories)), _seen(histories, self._items)
            )
        scores: NDArray[np.float32] = users @ self._model.item_factors.T
        return scores


def implicit_als(
    split: Split,
    items: int,
    *,
    seed: int = 0,
    view: View = Sequences.without_context,
    progress: Progress = silent,
) -> Scorer:
    """ALS with factors, regularisation and weight of an interaction chosen on validation."""
    grid = list(product(ALS_FACTORS, ALS_REGULARISATION, ALS_WEIGHT))

    def tried() -> Iterator[tuple[Scorer, Fit]]:
        for factors, regularisation, weight in grid:
            fit = partial(
                ImplicitALS,
                items=items,
                factors=factors,
                regularisation=regularisation,
                weight=weight,
                seed=seed,
            )
            yield fit(view(split.train)), fit

    return best_on(told(tried(), "tune ALS", len(grid), progress), split, items, view).final


def _seen(sequences: Sequences, items: int) -> sparse.csr_matrix:
    """Whether each user has seen each item, FP32 [U, n]."""
    rows = np.repeat(np.arange(len(sequences)), sequences.lengths)
    ones = np.ones(len(rows), np.float32)
    shape = (len(sequences), items)
    seen = sparse.csr_matrix((ones, (rows, sequences.items)), shape=shape)
    seen.data[:] = 1
    return seen
