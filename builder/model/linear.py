"""The linear term: co-occurrence of items in closed form, added to the logit of the network.

``logit += γ · Σ_j ρ^age(j) · B[j, i]`` over the events j of the history, where age counts events
back from the latest (0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.data.sequences import Sequences

_MOST_PAIRS: Final = 2**24
"""Pairs of items that are counted at once: 128 MiB, and some copies of it."""


@dataclass(frozen=True)
class LinearTerm:
    """The strongest entries of each row of B, and how they are weighted.

    Attributes
    ----------
    index, value
        INT32 and FP32 [n, K]: row j holds the items that an event on item j speaks for. Unused
        places have value 0. Items without interactions have no entries, in rows or columns.
    decay
        ρ, the weight lost with each event of age.
    weight
        γ, the weight of the term in the logit; 0 switches it off.
    """

    index: NDArray[np.int32]
    value: NDArray[np.float32]
    decay: float = 1.0
    weight: float = 0.0

    @classmethod
    def pruned(cls, matrix: NDArray[np.float32] | sparse.csr_array, keep: int) -> LinearTerm:
        """Keep the `keep` entries of largest magnitude of each row of B, or of some of its rows."""
        rows = matrix.shape[0]
        keep = min(keep, matrix.shape[1])
        index = np.zeros((rows, keep), np.int32)
        value = np.zeros((rows, keep), np.float32)
        for row in range(rows):
            if isinstance(matrix, np.ndarray):
                columns, values = np.arange(matrix.shape[1]), matrix[row]
            else:
                part = slice(matrix.indptr[row], matrix.indptr[row + 1])
                columns, values = matrix.indices[part], matrix.data[part]
            size = np.abs(values)
            if keep < len(size):  # in the order of their columns, so that equal ones stay so
                strongest = np.sort(np.argpartition(-size, keep - 1)[:keep])
                columns, values, size = columns[strongest], values[strongest], size[strongest]
            best = np.argsort(-size, kind="stable")
            index[row, : len(best)] = columns[best]
            value[row, : len(best)] = values[best]
        return cls(index, value)

    def weighted(self, *, decay: float, weight: float) -> LinearTerm:
        return replace(self, decay=decay, weight=weight)

    @property
    def matrix(self) -> sparse.csr_array:
        """B as a sparse matrix, FP32 [n, n]."""
        items, keep = self.index.shape
        rows = np.repeat(np.arange(items), keep)
        flat = (self.value.ravel(), (rows, self.index.ravel()))
        return sparse.csr_array(flat, shape=(items, items))


def recency_weights(
    histories: Sequences, items: int, *, decay: float, max_history: int
) -> sparse.csr_array:
    """ρ^age of each user's last `max_history` events, summed by item, FP32 [U, n]."""
    lengths = np.minimum(histories.lengths, max_history)
    rows = np.repeat(np.arange(len(histories)), lengths)
    ends = histories.offsets[1:]
    age = _ages(lengths)
    where = np.repeat(ends, lengths) - 1 - age
    weights = np.power(np.float32(decay), age, dtype=np.float32)
    return sparse.csr_array(
        (weights, (rows, histories.items[where])), shape=(len(histories), items)
    )


def _ages(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """[2, 3] → [1, 0, 2, 1, 0]."""
    total = int(lengths.sum())
    last = np.repeat(np.cumsum(lengths), lengths) - 1
    return last - np.arange(total)


def item_neighbours(train: Sequences, items: int, *, shrinkage: float, keep: int) -> LinearTerm:
    """Cosine neighbours of each item, shrunk (Sarwar et al. 2001; Bell & Koren 2007)."""
    seen = sparse.csc_array(seen_by_users(train, items))
    norm = np.sqrt(np.asarray(seen.sum(axis=0)).ravel())
    return strongest_together(
        seen, keep, lambda item, other: norm[item] * norm[other] + np.float32(shrinkage)
    )


def strongest_together(
    seen: sparse.csc_array,
    keep: int,
    scale: Callable[[NDArray[np.int64], NDArray[np.int32]], NDArray[np.float32]],
) -> LinearTerm:
    """The `keep` strongest of the items that users have seen beside each item.

    ``seen`` FP32 [U, n] is 1 where a user has seen an item. How many users have seen both items of
    a pair is divided by the ``scale`` FP32 [P] of the pairs' items [P]. Never holds more than a
    block of rows of the items × items matrix.
    """
    items = seen.shape[1]
    step = max(1, _MOST_PAIRS // items)
    by_user = seen.tocsr()
    parts = []
    for start in range(0, items, step):
        block = sparse.csr_array(seen[:, start : start + step].T @ by_user)
        item = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr)) + start
        block.data /= scale(item, block.indices)
        block.data[item == block.indices] = 0.0  # an item does not speak for itself
        block.eliminate_zeros()
        parts.append(LinearTerm.pruned(block, keep))
    return LinearTerm(
        np.concatenate([each.index for each in parts]),
        np.concatenate([each.value for each in parts]),
    )


def text_neighbours(
    text_vectors: NDArray[np.float32], warm: NDArray[np.bool_], *, keep: int
) -> LinearTerm:
    """Cosines of the items' texts, between warm items: FP32 [n, h] and BOOL [n].

    Says something where the log says nothing yet: after one event of one user.
    """
    items = len(text_vectors)
    norm = np.linalg.norm(text_vectors, axis=1, keepdims=True)
    unit = text_vectors[warm] / np.maximum(norm[warm], 1e-9)
    places = np.flatnonzero(warm)
    keep = min(keep, items)
    index = np.zeros((items, keep), np.int32)
    value = np.zeros((items, keep), np.float32)
    step = 1_000
    for start in range(0, len(unit), step):
        block = unit[start : start + step] @ unit.T
        own = np.arange(len(block))
        block[own, start + own] = 0.0
        best = LinearTerm.pruned(block, keep)
        rows = places[start : start + len(block)]
        index[rows, : best.index.shape[1]] = places[best.index]
        value[rows, : best.index.shape[1]] = best.value
    return LinearTerm(index, value)


def seen_by_users(train: Sequences, items: int) -> sparse.csr_array:
    """FP32 [U, n], 1 where a user has seen an item."""
    rows = np.repeat(np.arange(len(train)), train.lengths)
    ones = np.ones(len(train.items), np.float32)
    seen = sparse.csr_array((ones, (rows, train.items)), shape=(len(train), items))
    seen.sum_duplicates()
    seen.data[:] = 1.0
    return seen
