"""Cold items: neighbours by text stand in for an item without training events.

A cold item has the mean vector and the mean linear term of its neighbours by text, and is as
popular as they are in the mean (`model_repository.core.items`). Its rank in a list is set by
`model_repository.core.cold_items`.

docs/quality.md says how they rank that were held out of training.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from builder.model.interest import InterestAdapter
from builder.model.linear import LinearTerm
from builder.model.neighbourhood import neighbourhood_among
from builder.model.recommender import Recommender
from model_repository.core.items import inherited_bias, weigh

ENTRIES: Final = 64
"""Places for cold items in a row of the linear term, beside those of the warm items."""


def stand_in(model: Recommender, cold: NDArray[np.bool_]) -> Recommender:
    """Let each item of `cold` BOOL [n] take the place of its neighbours among ``model.warm``.

    `model` itself where there is nothing to do.
    """
    if not cold.any() or not model.warm.any():
        return model
    mean = neighbour_means(model, cold)
    return replace(
        model,
        adapter=_with_mean_vectors(model, mean, torch.from_numpy(cold)),
        linear=_with_mean_part(model.linear, mean, cold),
    )


def neighbours(
    model: Recommender, cold: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The items in whose place each item of `cold` BOOL [n] stands, and what each of them weighs.

    Catalogue indices INT32 and weights FP32 [c, k], the nearest first.
    """
    neighbourhood, directions = neighbourhood_among(model)
    places = np.flatnonzero(cold)
    step = 1_000
    found = [
        weigh(directions[places[start : start + step]] @ neighbourhood.directions.T)
        for start in range(0, max(1, len(places)), step)
    ]
    nearest, weights = (np.concatenate(each) for each in zip(*found, strict=True))
    return neighbourhood.items[nearest], weights


def neighbour_means(model: Recommender, cold: NDArray[np.bool_]) -> sparse.csr_array:
    """Weights FP32 [n, n]: column c of a cold item averages its neighbours, others are empty."""
    nearest, weights = neighbours(model, cold)
    where = (nearest.ravel(), np.repeat(np.flatnonzero(cold), nearest.shape[1]))
    items = len(cold)
    return sparse.csr_array((weights.ravel(), where), shape=(items, items))


@torch.no_grad()
def _with_mean_vectors(
    model: Recommender, mean: sparse.csr_array, cold: torch.Tensor
) -> InterestAdapter:
    vectors, bias = model.item_vectors()
    from_text = model.adapter.of_catalogue(model.text_vectors)
    adapter = copy.deepcopy(model.adapter)
    left = torch.from_numpy(mean.T @ vectors.numpy()) - from_text
    adapter.residual.weight[cold] = left[cold]
    lent, rate = ((mean.T @ each)[cold.numpy()] for each in model.popularity.lent(bias.numpy()))
    adapter.bias[cold] = torch.from_numpy(inherited_bias(lent, rate))
    return adapter


def _with_mean_part(
    linear: LinearTerm, mean: sparse.csr_array, cold: NDArray[np.bool_]
) -> LinearTerm:
    """B of all items: known rows as they are, and more of them for and from the cold ones."""
    if not linear.weight:
        return linear
    known = linear.matrix
    rows = sparse.csr_array(known + mean.T @ known)
    both = [
        LinearTerm.pruned(rows, linear.index.shape[1]),
        LinearTerm.pruned(sparse.csr_array(rows @ mean), min(ENTRIES, int(cold.sum()))),
    ]
    return replace(
        linear,
        index=np.concatenate([each.index for each in both], axis=1),
        value=np.concatenate([each.value for each in both], axis=1),
    )
