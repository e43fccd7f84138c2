"""Beyond-accuracy metrics of the recommended lists.

Means over users and over the first 10 recommended:

novelty
    Self-information in bits, ``-log2((seen + 1) / (users + 1))`` of an item that `seen` of the
    training users have seen (Zhou et al. 2010; the added one keeps an item without events finite).
diversity
    Intra-list diversity: 1 - cosine of the items' text vectors, mean over the pairs of a list
    (Ziegler et al. 2005; Castells et al. 2015).
popularity percentile
    Share of the catalogue with fewer training events, ties counting half: 0.5 on average for items
    drawn at random, near 1 for the most popular ones (after Abdollahpouri et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from builder.data.sequences import Sequences

LENGTH: Final = 10
_CHUNK: Final = 1_024


@dataclass(frozen=True, eq=False)
class ListMetrics:
    """Beyond-accuracy metrics of lists; one object for all scorers that are compared.

    Attributes
    ----------
    counts
        INT64 [n], training events of each item.
    self_information, percentile
        FP64 [n], self-information and popularity percentile of each item.
    directions
        FP32 [n, h], text vectors of length 1; None where there are none, and no diversity then.
    """

    counts: NDArray[np.int64]
    self_information: NDArray[np.float64]
    percentile: NDArray[np.float64]
    directions: NDArray[np.float32] | None

    @classmethod
    def of(
        cls, train: Sequences, items: int, text_vectors: NDArray[np.float32] | None = None
    ) -> ListMetrics:
        """Learn popularity from `train`; ``text_vectors`` is FP32 [n, h]."""
        counts = np.bincount(train.items, minlength=items)
        users = np.repeat(np.arange(len(train)), train.lengths)
        pairs = np.unique(users * items + train.items)
        seen = np.bincount(pairs % items, minlength=items)
        return cls(
            counts=counts,
            self_information=-np.log2((seen + 1) / (len(train) + 1)),
            percentile=(stats.rankdata(counts) - 0.5) / items,
            directions=None if text_vectors is None else directions(text_vectors),
        )

    def per_user(self, top: NDArray[np.int32]) -> dict[str, NDArray[np.float64]]:
        """FP64 [U] of each property, for lists INT32 [U, k], best first, -1 for no item.

        An empty list has none of anything, and a list of one no diversity.
        """
        top = top[:, :LENGTH]
        found = {
            f"novelty@{LENGTH}": _mean(self.self_information, top),
            f"popularity@{LENGTH}": _mean(self.percentile, top),
        }
        if self.directions is not None:
            found[f"diversity@{LENGTH}"] = _diversity(self.directions, top)
        return found


def coverage(top: NDArray[np.int32], items: int) -> float:
    """Share of a catalogue of so many items that lists INT32 [U, k] show to anyone."""
    return np.count_nonzero(_shown(top, items)) / items


def gini(top: NDArray[np.int32], items: int) -> float:
    """Gini coefficient of how often lists INT32 [U, k] show each item of a catalogue.

    0 where all are shown as often, near 1 where few items have all places (Adomavicius & Kwon
    2012).
    """
    shown = np.sort(_shown(top, items))
    if not shown.any():
        return 0.0
    weight = 2 * np.arange(1, items + 1) - items - 1
    return float(weight @ shown / (items * shown.sum()))


def _shown(top: NDArray[np.int32], items: int) -> NDArray[np.int64]:
    return np.bincount(top[top >= 0], minlength=items)


def directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors FP32 [n, h] at length 1; a vector of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return scaled


def _diversity(directions: NDArray[np.float32], top: NDArray[np.int32]) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(top), _CHUNK):
        part = top[start : start + _CHUNK]
        there = part >= 0
        vectors = directions[part] * there[..., None]
        size = there.sum(axis=1)
        own = np.square(vectors, dtype=np.float64).sum(axis=(1, 2))
        alike = np.square(vectors.sum(axis=1, dtype=np.float64)).sum(axis=1) - own
        pairs = size * (size - 1)
        parts.append(np.where(pairs > 0, 1 - alike / np.maximum(pairs, 1), 0.0))
    return np.concatenate(parts)


def _mean(values: NDArray[np.float64], top: NDArray[np.int32]) -> NDArray[np.float64]:
    there = top >= 0
    size = np.maximum(there.sum(axis=1), 1)
    mean: NDArray[np.float64] = np.where(there, values[top], 0.0).sum(axis=1) / size
    return mean
