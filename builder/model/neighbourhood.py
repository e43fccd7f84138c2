"""How an item's neighbours by text are found, see `model_repository.neighbours`.

Items are alike by the sum of two cosines: between the encoder's vectors of their texts, and between
what the network makes of these, which knows what goes together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray

from model_repository.neighbours import unit, weigh

if TYPE_CHECKING:
    from builder.model.recommender import Recommender

Floats = NDArray[np.float32]

SERVED: Final = 20_000
"""Items among which a server seeks the neighbours of a text: reading them all takes as long as
encoding the text does."""
_ROWS: Final = 1_000
"""Texts that neighbours are sought for at a time."""


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The items that may be neighbours: those that were met.

    Attributes
    ----------
    text_mean
        FP32 [h], what text vectors are centred on.
    text_weight, text_bias
        FP32 [h, d] and [d], from a centred text vector to what the network makes of it, centred.
    items
        INT32 [p], where they are in the catalogue.
    directions
        FP32 [p, h + d], their vectors in both spaces, each centred and of length 1.
    """

    text_mean: Floats
    text_weight: Floats
    text_bias: Floats
    items: NDArray[np.int32]
    directions: Floats

    @classmethod
    def among(cls, model: Recommender) -> tuple[Neighbourhood, Floats]:
        """The neighbourhood, and the directions FP32 [n, h + d] of the whole catalogue."""
        with torch.no_grad():
            text = model.text_vectors.numpy()
            vectors = model.adapter.of_catalogue(model.text_vectors).numpy()
        items = np.flatnonzero(model.met).astype(np.int32)
        # Without an item that was met there is nothing to be centred on.
        means = [
            each[items].mean(axis=0) if len(items) else np.zeros(each.shape[1], np.float32)
            for each in (text, vectors)
        ]
        directions = np.concatenate([unit(text - means[0]), unit(vectors - means[1])], axis=1)
        weight, added = (each.numpy() for each in model.adapter.text_projection())
        # Centred before the product: a text like all others would drown in rounding after it.
        bias = (added + means[0] @ weight - means[1]).astype(np.float32)
        found = cls(means[0], weight.astype(np.float32), bias, items, directions[items])
        return found, directions

    def of_texts(
        self, text_vectors: Floats, *, unseen: bool = False
    ) -> tuple[NDArray[np.int32], Floats]:
        """The neighbours of texts that come with requests, INT32 [R, k], and FP32 [R, k], weights.

        ``text_vectors`` FP32 [R, h]. With ``unseen`` they are those of the whole catalogue, in its
        order, and no item counts as its own neighbour.
        """
        centred = text_vectors - self.text_mean
        projected = centred @ self.text_weight + self.text_bias
        directions = np.concatenate([unit(centred), unit(projected)], axis=1)
        found = []
        for start in range(0, len(directions), _ROWS):
            alike = directions[start : start + _ROWS] @ self.directions.T
            if unseen:
                own = np.arange(start, start + len(alike))
                mask = own[:, np.newaxis] == self.items
                alike = np.where(mask, alike.min(axis=1, keepdims=True), alike)
            found.append(weigh(alike))
        places, weights = (np.concatenate(each) for each in zip(*found, strict=True))
        return self.items[places], weights

    @classmethod
    def served(cls, model: Recommender) -> Neighbourhood:
        """At most `SERVED` of them, evenly chosen from a larger catalogue."""
        everyone, _ = cls.among(model)
        if len(everyone.items) <= SERVED:
            return everyone
        chosen = np.linspace(0, len(everyone.items) - 1, SERVED).astype(np.int64)
        return replace(
            everyone, items=everyone.items[chosen], directions=everyone.directions[chosen]
        )
