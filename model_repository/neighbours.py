"""Where an item that is known by its text alone stands: among the items most like it.

Nothing was learnt of such an item, and the softmax over the catalogue has taught the network that
a text without events is never the next one. So it takes the place of its neighbours by text: their
mean vector, bias and linear term.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .top_k import largest

Floats = NDArray[np.float32]

NEIGHBOURS: Final = 40
EDGE: Final = 1e-4
"""What the last neighbour weighs, before weights are made to sum to 1: next to nothing, so that a
rounding that puts another one in its place changes nothing either."""

SHORTEST: Final = 1e-2
"""A vector that is shorter points nowhere: what is left of a text that is like all others is
rounding, which two engines do not share."""


@dataclass(frozen=True, slots=True)
class NewItems:
    """R items that are no part of the catalogue.

    ``vectors`` FP32 [R, d] are their item vectors; ``items`` INT32 [R, k] are their neighbours and
    ``weights`` FP32 [R, k] what each of these weighs, 1 in all.
    """

    vectors: Floats
    items: NDArray[np.int32]
    weights: Floats

    @classmethod
    def of_text(cls, vectors: Floats) -> NewItems:
        """Items without neighbours."""
        nobody = (len(vectors), 0)
        return cls(vectors, np.zeros(nobody, np.int32), np.zeros(nobody, np.float32))


NO_NEW_ITEMS: Final = NewItems.of_text(np.zeros((0, 0), np.float32))


def unit(vectors: Floats) -> Floats:
    """Vectors FP32 [R, d] at length 1, but for those below `SHORTEST`."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = vectors / np.maximum(length, np.float32(SHORTEST))
    return scaled


def weigh(alike: Floats) -> tuple[NDArray[np.int32], Floats]:
    """The neighbours of R items: their places INT32 [R, k], and weights FP32 [R, k].

    ``alike`` FP32 [R, p] says how much each item is like each of the p that may be neighbours. One
    weighs by how much more it is than the last.
    """
    place = largest(alike, min(NEIGHBOURS, alike.shape[1]))
    found = np.take_along_axis(alike, place, axis=1)
    weight = found - found[:, -1:] + np.float32(EDGE)
    return place, weight / weight.sum(axis=1, keepdims=True)
