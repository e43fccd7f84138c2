"""Finds the items whose directions are nearest to one without reading all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Floats, Indices
from ..core.similarity import MOST_SIMILAR
from .item_index import mapped_index

SPARE: Final = 10
"""Items that are found over those that are wanted: the index has the directions in short, and an
exact comparison of these says which are nearest."""
_FEW: Final = 8
"""It finds at most one in so many items; beyond that, reading all is no slower."""
_MORE: Final = 4
"""Times as many lists are read where these hold too few items."""


class DirectionIndex:
    """An index of FAISS over directions of the items of a catalogue.

    Parameters
    ----------
    file
        Turns directions FP32 [w] into short ones, and holds lists of these. The number of lists
        that one search for `MOST_SIMILAR` items reads lies in the file too.

    Raises
    ------
    RuntimeError
        FAISS is not installed.
    """

    def __init__(self, file: Path) -> None:
        self._index = mapped_index(file)
        import faiss

        self._faiss: Any = faiss
        self._lists: Any = faiss.extract_index_ivf(self._index)

    def nearest(
        self, direction: Floats, number: int, member: NDArray[np.bool_] | None
    ) -> Indices | None:
        """See `model_repository.core.similarity.DirectionIndex`; at most ten times ``number``.

        The fewer items may be found, and the more are wanted, the more lists are read; more, where
        these hold too few.
        """
        items, faiss = self._index.ntotal, self._faiss
        left = items if member is None else int(np.count_nonzero(member))
        if left < number or _FEW * SPARE * number > items:
            return None
        # The lists that hold ten times as many nearest ones are fewer than ten times as many.
        more = np.sqrt(items / left * max(1.0, number / MOST_SIMILAR))
        probes = min(self._lists.nlist, int(np.ceil(self._lists.nprobe * more)))
        # A name keeps the bits as long as FAISS reads them.
        bits = None if member is None else np.packbits(member, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        wanted = min(SPARE * number, left)
        while True:
            of_lists = faiss.SearchParametersIVF(nprobe=probes, sel=selector)
            asked = faiss.SearchParametersPreTransform(index_params=of_lists)
            _, found = self._index.search(direction[np.newaxis], wanted, params=asked)
            if found[0, -1] >= 0 or probes == self._lists.nlist:
                break
            probes = min(self._lists.nlist, _MORE * probes)
        nearest: Indices = found[0][found[0] >= 0].astype(np.int32)
        return nearest
