"""Neighbours by text: what an item without training events is scored by.

Nothing was learnt of such an item, and the softmax over the catalogue has taught the network that
a text without events is never the next one. So the item has the mean vector and linear term of
its neighbours by text, and a bias that makes it as popular as they are in the mean.

Popular means events for the time that an item was there to be met: an item of the last weeks has
few events only because the log ends. And the mean is one of events, not of logits, which are
logarithms of them: of two neighbours with 1 and 99 events one expects 50, and not 10.

Items are alike by the sum of two cosines: between the encoder's vectors of their texts, and between
what the network makes of these, which knows what goes together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .arrays import Floats, Indices
from .top_k import largest, take

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

    ``vectors`` FP32 [R, d] are their item vectors and ``bias`` FP32 [R] their biases; ``items``
    INT32 [R, k] are their neighbours and ``weights`` FP32 [R, k] what each of these weighs, 1 in
    all.
    """

    vectors: Floats
    bias: Floats
    items: Indices
    weights: Floats

    def rows(self, kept: Indices) -> NewItems:
        """Some of them."""
        return NewItems(self.vectors[kept], self.bias[kept], self.items[kept], self.weights[kept])

    def followed_by(self, more: NewItems) -> NewItems:
        """They, and then others of the same catalogue."""
        return NewItems(
            np.concatenate([self.vectors, more.vectors]),
            np.concatenate([self.bias, more.bias]),
            np.concatenate([self.items, more.items]),
            np.concatenate([self.weights, more.weights]),
        )


NO_NEW_ITEMS: Final = NewItems(
    np.zeros((0, 0), np.float32),
    np.zeros(0, np.float32),
    np.zeros((0, 0), np.int32),
    np.zeros((0, 0), np.float32),
)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The items that may be neighbours, and how texts are compared with them.

    Attributes
    ----------
    text_mean
        FP32 [h], what text vectors are centred on.
    text_weight, text_bias
        FP32 [h, d] and [d], from a centred text vector to what the network makes of it, centred.
    items
        INT32 [p], catalogue indices, ascending.
    directions
        FP32 [p, h + d], their vectors in both spaces, each centred and of length 1.
    bias, rate
        FP32 [p], their biases without what their popularity has to do with them, and how popular
        they are: see `builder.model.popularity`.
    """

    text_mean: Floats
    text_weight: Floats
    text_bias: Floats
    items: Indices
    directions: Floats
    bias: Floats
    rate: Floats

    def directions_of(self, text_vectors: Floats) -> Floats:
        """What texts of vectors FP32 [R, h] are compared by, FP32 [R, h + d]."""
        centred = text_vectors - self.text_mean
        return np.concatenate([unit(centred), unit(self._projected(centred))], axis=1)

    def place(self, text_vectors: Floats, catalogue_vectors: Floats) -> NewItems:
        """The new items that texts of vectors FP32 [R, h] stand for.

        ``catalogue_vectors`` are FP32 [n, d]. Where nothing may be a neighbour, a new item is what
        the network makes of its text.
        """
        place, weight = weigh(self.directions_of(text_vectors) @ self.directions.T)
        items = self.items[place]
        if not len(self.items):
            centred = text_vectors - self.text_mean
            return NewItems(
                self._projected(centred), np.zeros(len(items), np.float32), items, weight
            )
        vectors = np.einsum("rk,rkd->rd", weight, catalogue_vectors[items])
        bias = inherited_bias(
            (weight * self.bias[place]).sum(axis=1), (weight * self.rate[place]).sum(axis=1)
        )
        return NewItems(vectors, bias, items, weight)

    def _projected(self, centred: Floats) -> Floats:
        projected: Floats = centred @ self.text_weight + self.text_bias
        return projected


NO_NEIGHBOURHOOD: Final = Neighbourhood(
    np.zeros(0, np.float32),
    np.zeros((0, 0), np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.int32),
    np.zeros((0, 0), np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
)


def inherited_bias(bias: Floats, rate: Floats) -> Floats:
    """Biases FP32 [R] of items whose neighbours have these weighted means of ``bias`` and ``rate``.

    Both FP32 [R]. A mean of logarithms would fall short of the mean popularity.
    """
    found: Floats = bias + np.log(rate)
    return found


def unit(vectors: Floats) -> Floats:
    """Vectors FP32 [R, d] at length 1, but for those below `SHORTEST`."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = vectors / np.maximum(length, np.float32(SHORTEST))
    return scaled


def weigh(alike: Floats) -> tuple[Indices, Floats]:
    """The neighbours of R items: their places INT32 [R, k], and weights FP32 [R, k].

    ``alike`` FP32 [R, p] says how much each item is like each of the p that may be neighbours. One
    weighs by how much more it is than the last.
    """
    if not alike.shape[1]:
        return np.zeros(alike.shape, np.int32), np.zeros(alike.shape, np.float32)
    place = largest(alike, min(NEIGHBOURS, alike.shape[1]))
    found = take(alike, place)
    weight = found - found[:, -1:] + np.float32(EDGE)
    return place, weight / weight.sum(axis=1, keepdims=True)
