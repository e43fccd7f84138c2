"""What a server needs to name reasons, and not to score: see `model_repository.core.reasons`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from builder.model.cold_items import neighbours
from builder.model.recommender import Recommender
from model_repository.core.catalogue import Catalogue
from model_repository.core.reasons import NAMED


def with_reasons(catalogue: Catalogue, model: Recommender) -> Catalogue:
    """With the text's part of each item vector, and the nearest neighbours of each cold item."""
    nearest, _ = neighbours(model, ~model.warm)
    of_text, _ = model.item_vectors(text_only=True)
    return replace(
        catalogue,
        cold_neighbours=np.ascontiguousarray(nearest[:, :NAMED]),
        text_part=of_text.numpy(),
    )
