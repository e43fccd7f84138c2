"""Finds the items that the network scores highest without reading all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Floats, Indices
from ..core.items import unit


def on_sphere(vectors: Floats) -> Floats:
    """Item vectors FP32 [n, d] as points FP32 [n, d + 1] of the unit sphere.

    One more coordinate makes up for what a vector is shorter than the longest one, so that the
    points nearest to a query are those with the largest inner products (Bachrach et al. 2014).
    Lists of near points then serve a query well that lists of vectors of like direction do not,
    where lengths differ.
    """
    squares = (vectors**2).sum(axis=1)
    longest = squares.max(initial=1e-12)
    points: Floats = np.column_stack([vectors, np.sqrt(longest - squares)]) / np.sqrt(longest)
    return points


def queries(states: Floats) -> Floats:
    """What an index is asked for user states FP32 [U, d]: FP32 [U, d + 2]."""
    padded = np.pad(states, ((0, 0), (0, 2)))
    padded[:, -2] = 1  # times the bias
    return unit(padded)


def mapped_index(file: Path) -> Any:
    """An index of FAISS whose lists stay in the file, which the processes that map it share.

    Raises
    ------
    RuntimeError
        FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise RuntimeError(
            f"{file} is an index of FAISS, which is missing: pip install 'tritonrec[index]'"
        ) from error
    index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    # By default each search starts a thread for each list, up to 32, that reads it ahead: some ten
    # times the work of the search.
    lists: Any = faiss.extract_index_ivf(index).invlists
    on_disk: Any = faiss.downcast_InvertedLists(lists)
    on_disk.prefetch_nthread = 0
    return index


class ItemIndex:
    """An index of FAISS over the vectors of the catalogue.

    Parameters
    ----------
    file
        Holds the points that `on_sphere` makes of ``[v, b]``, an item's vector with its bias behind
        it. The number of lists that one search reads lies in the file too.

    Raises
    ------
    RuntimeError
        FAISS is not installed.
    """

    def __init__(self, file: Path) -> None:
        self._index = mapped_index(file)

    def nearest(self, state: Floats, number: int) -> Indices | None:
        """The items with the largest ``state · v + b`` for a user state FP32 [d], INT32 [number].

        Best first; None where the lists that were read hold no more. One user at a time: FAISS
        computes batches in another way, and an answer must not depend on who asks at the same time.
        """
        _, found = self._index.search(queries(state[np.newaxis]), number)
        items: Indices = found[0].astype(np.int32)
        return items if items[-1] >= 0 else None
