"""What an export holds so that a server can search by text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builder.export.search import with_texts
from builder.model import neighbourhood
from builder.model.cold_items import stand_in
from builder.model.recommender import Recommender
from builder.model.scoring import catalogue_of
from model_repository.core.similarity import Similarity
from tests.unit.builder.model.tiny import ITEMS

COLD = np.isin(np.arange(ITEMS), [2, 4])


@pytest.mark.parametrize("served", [neighbourhood.SERVED, 3])
def test_each_item_is_found_by_its_own_text(
    model: Recommender, served: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those without training events too, and those of a catalogue that is too large."""
    monkeypatch.setattr(neighbourhood, "SERVED", served)
    known = stand_in(replace(model, warm=~COLD), COLD)
    catalogue = with_texts(catalogue_of(known), known)
    assert len(catalogue.other_texts) == ITEMS - len(catalogue.neighbourhood.items)
    similarity = Similarity(catalogue)
    for item, text in enumerate(known.text_vectors.numpy()):
        found = similarity.to_query(text).all()
        assert found.argmax() == item
        np.testing.assert_allclose(found[item], 1, rtol=1e-3)
    assert catalogue.other_texts.flags.c_contiguous
