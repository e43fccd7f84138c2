"""What the logit of an item that is known by its text alone has to be."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from builder.model.recommender import Recommender, encode_texts


def logit_of_text(model: Recommender, text: str, logits: NDArray[np.float32]) -> float:
    """The mean of a user's ``logits`` FP32 [n], by the 40 items whose texts are most alike.

    But as popular as these are in the mean. Without the trend, of which a new item has none.

    Written out in the plainest way, beside what `model_repository.core.items` says.
    """
    with torch.no_grad():
        vector = encode_texts(model.encoder, model.tokenizer, [text])
        spaces = [
            (model.text_vectors, vector),
            (
                model.adapter.of_catalogue(model.text_vectors),
                model.adapter.from_text(vector),
            ),
        ]
    alike = np.zeros(len(logits))
    for items, asked in spaces:
        mean = items[torch.from_numpy(model.warm)].double().mean(0)
        alike += torch.cosine_similarity(items.double() - mean, asked.double() - mean).numpy()
    alike[~model.warm] = -np.inf
    nearest = np.argsort(-alike, kind="stable")[: min(40, model.warm.sum())]
    weight = alike[nearest] - alike[nearest[-1]] + 1e-4
    weight /= weight.sum()
    popularity = model.popularity.of_all(len(logits))
    expected = np.log(weight @ np.exp(popularity.expected[nearest]))
    return float(weight @ (logits - popularity.events)[nearest] + expected)
