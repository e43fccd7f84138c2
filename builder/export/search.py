"""What a server needs to search by text, and not to score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from builder.model.neighbourhood import neighbourhood_among
from builder.model.recommender import Recommender
from model_repository.core.catalogue import Catalogue


def with_texts(catalogue: Catalogue, model: Recommender) -> Catalogue:
    """With the text vectors of the items that its neighbourhood does not hold."""
    _, directions = neighbourhood_among(model)
    outside = np.ones(len(catalogue), np.bool_)
    outside[catalogue.neighbourhood.items] = False
    width = model.text_vectors.shape[1]
    return replace(catalogue, other_texts=np.ascontiguousarray(directions[outside, :width]))
