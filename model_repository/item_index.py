"""Finds the items that the network scores highest without reading all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

INDEX_FILE: Final = "index.faiss"


class ItemIndex:
    """An index of FAISS over the vectors of the catalogue, by inner product.

    Parameters
    ----------
    file
        Holds ``[v, b]``, FP32 [n, d + 1]: an item's vector with its bias behind it. The number of
        lists that one search reads lies in the file too.

    Raises
    ------
    RuntimeError
        FAISS is not installed.
    """

    def __init__(self, file: Path) -> None:
        try:
            import faiss
        except ImportError as error:
            raise RuntimeError(
                f"{file} is an index of FAISS, which is missing: pip install 'tritonrec[index]'"
            ) from error
        self._index: Any = faiss.read_index(str(file))

    def nearest(
        self, state: NDArray[np.float32], number: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Catalogue indices INT32 [m] for a user state FP32 [d], and ``state · v + b`` FP32 [m].

        Best first; m is ``number``, or less where the lists that were read hold no more. One user
        at a time: FAISS computes batches in another way, and an answer must not depend on who asks
        at the same time.
        """
        query = np.append(state, np.float32(1))[np.newaxis]
        scores, found = self._index.search(query, number)
        held = found[0] >= 0
        return found[0][held].astype(np.int32), scores[0][held]
