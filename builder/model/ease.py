"""EASE: how much an item speaks for another, in closed form, from what users have seen.

Up to `DENSE_LIMIT` items all of them are inverted at once. A larger catalogue would need a matrix
of items × items, so each item is explained by its `NEAREST` items alone, as in Steck 2019, *Markov
random fields for collaborative filtering*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from builder.data.sequences import Sequences
from builder.model.linear import seen_by_users, strongest_together
from builder.progress import Progress, silent

DENSE_LIMIT: Final = 20_000
"""Items; a matrix of them all has 1.6 GB here."""
NEAREST: Final = 100
"""Items that explain one of a larger catalogue."""
_BLOCK: Final = 1_000
"""Rows of an items × items matrix that are worked on at once."""
_GROUP: Final = 4_096
"""Items whose co-occurrence is held at once: 64 MiB, and up to 128 MiB while it is counted."""


def ease(
    train: Sequences, items: int, *, regularisation: float, progress: Progress = silent
) -> NDArray[np.float32] | sparse.csr_array:
    """B of EASE (Steck 2019, eq. 8), FP32 [n, n], with a zero diagonal.

    Dense up to `DENSE_LIMIT` items, sparse above. ``regularisation`` is λ, added to the diagonal of
    the co-occurrence matrix.
    """
    if items <= DENSE_LIMIT:
        return dense_ease(train, items, regularisation=regularisation)
    return sparse_ease(train, items, regularisation=regularisation, progress=progress)


def dense_ease(train: Sequences, items: int, *, regularisation: float) -> NDArray[np.float32]:
    """EASE with every item explained by all others.

    Cholesky in single precision: 4 times as fast as a general inverse in double, and λ bounds the
    condition number. Only items with events are inverted.
    """
    seen = seen_by_users(train, items)
    warm = np.flatnonzero(np.asarray(seen.sum(axis=0)).ravel())
    gram = (seen.T @ seen).tocsr()[warm][:, warm].toarray(order="F")
    gram[np.diag_indices(len(warm))] += np.float32(regularisation)
    factor = linalg.cholesky(gram, overwrite_a=True, check_finite=False)
    precision: NDArray[np.float32] = linalg.lapack.spotri(factor, overwrite_c=True)[0]
    # LAPACK fills the upper triangle only. A block at a time, for each copy has 1.6 GB at 20,000
    # items.
    for start in range(0, len(warm), _BLOCK):
        stop = start + _BLOCK
        own = precision[start:stop, start:stop]
        own += np.triu(own, 1).T
        precision[stop:, start:stop] = precision[start:stop, stop:].T
    precision /= -np.diag(precision).copy()
    np.fill_diagonal(precision, 0.0)
    if len(warm) == items:
        return precision
    weights = np.zeros((items, items), np.float32)
    weights[np.ix_(warm, warm)] = precision
    return weights


def sparse_ease(
    train: Sequences,
    items: int,
    *,
    regularisation: float,
    nearest: int = NEAREST,
    progress: Progress = silent,
) -> sparse.csr_array:
    """EASE with every item explained by its `nearest` items.

    Column i solves the ridge problem of item i on these items, and is 0 elsewhere. Of the items
    that some user has seen beside i, they are those that explain it best alone: the loss falls by
    G[j, i]² / (G[j, j] + λ), where G counts users who have seen both. Where all items are among the
    nearest, B is that of `dense_ease`.
    """
    seen = sparse.csc_array(seen_by_users(train, items))
    norm = np.sqrt(np.asarray(seen.sum(axis=0)).ravel() + np.float32(regularisation))
    found = strongest_together(seen, nearest, lambda _, other: norm[other])
    near, used = found.index, found.value > 0
    weights = np.zeros(near.shape, np.float32)
    done = 0
    for group in _groups(near, used):
        progress("EASE", done, items)
        members = np.union1d(group, near[group][used[group]])
        part = seen[:, members]
        gram = (part.T @ part).toarray()
        for item in group:
            by = np.searchsorted(members, near[item, used[item]])
            if len(by):
                right = gram[by, np.searchsorted(members, item)]
                weights[item, used[item]] = _ridge(gram[np.ix_(by, by)], right, regularisation)
        done += len(group)
    progress("EASE", items, items)
    columns = np.repeat(np.arange(items), used.sum(axis=1))
    return sparse.csr_array((weights[used], (near[used], columns)), shape=(items, items))


def _groups(near: NDArray[np.int32], used: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """All items in groups; a group and its nearest items are `_GROUP` at most, or one item's."""
    member = np.zeros(len(near), np.bool_)
    start = size = 0
    for item in range(len(near)):
        own = np.append(near[item, used[item]], item)
        new = np.count_nonzero(~member[own])
        if size + new > _GROUP:
            yield np.arange(start, item)
            member[:] = False
            start, size, new = item, 0, len(own)
        member[own] = True
        size += new
    yield np.arange(start, len(near))


def _ridge(
    gram: NDArray[np.float32], right: NDArray[np.float32], regularisation: float
) -> NDArray[np.float32]:
    """FP32 [k], the solution x of (G + λ) x = r; G FP32 [k, k] is changed in place."""
    gram[np.diag_indices(len(gram))] += np.float32(regularisation)
    factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    solution: NDArray[np.float32] = linalg.cho_solve(factor, right, check_finite=False)
    return solution
