"""The items that may be neighbours of a text, see `model_repository.core.items`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from model_repository.core.arrays import Floats
from model_repository.core.items import Neighbourhood, unit

if TYPE_CHECKING:
    from builder.model.recommender import Recommender

SERVED: Final = 20_000
"""Items among which a server seeks the neighbours of a text: reading them all takes as long as
encoding the text does."""


def neighbourhood_among(model: Recommender) -> tuple[Neighbourhood, Floats]:
    """The items that had training events, and the directions FP32 [n, h + d] of the catalogue."""
    with torch.no_grad():
        text = model.text_vectors.numpy()
        vectors = model.adapter.of_catalogue(model.text_vectors).numpy()
    items = np.flatnonzero(model.warm).astype(np.int32)
    # Without an item that had events there is nothing to be centred on.
    means = [
        each[items].mean(axis=0) if len(items) else np.zeros(each.shape[1], np.float32)
        for each in (text, vectors)
    ]
    directions = np.concatenate([unit(text - means[0]), unit(vectors - means[1])], axis=1)
    weight, added = (each.numpy() for each in model.adapter.text_projection())
    # Centred before the product: a text like all others would drown in rounding after it.
    bias = (added + means[0] @ weight - means[1]).astype(np.float32)
    lent, rate = model.popularity.lent(model.adapter.bias.detach().numpy())
    found = Neighbourhood(
        means[0],
        weight.astype(np.float32),
        bias,
        items,
        directions[items],
        lent[items],
        rate[items],
    )
    return found, directions


def served_neighbourhood(model: Recommender) -> Neighbourhood:
    """At most `SERVED` of them, evenly chosen from a larger catalogue."""
    everyone, _ = neighbourhood_among(model)
    if len(everyone.items) <= SERVED:
        return everyone
    chosen = np.linspace(0, len(everyone.items) - 1, SERVED).astype(np.int64)
    return replace(
        everyone,
        items=everyone.items[chosen],
        directions=everyone.directions[chosen],
        bias=everyone.bias[chosen],
        rate=everyone.rate[chosen],
    )
