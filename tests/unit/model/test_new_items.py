from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from builder.data import Catalogue
from builder.model.cold_items import neighbour_means
from builder.model.new_items import with_new_items
from builder.model.recommender import encode_texts
from tests.unit.model.tiny import ITEMS, recommender, sequences

TEXTS = ["the matrix", "a film about cats"]
NEW = Catalogue(["n0", "n1"], TEXTS, pd.DataFrame({"title": TEXTS, "colour": ["red", "blue"]}))


def test_known_items_score_as_before_and_new_ones_as_their_neighbours(backbone: Path) -> None:
    model = replace(recommender(backbone), cold_cut=0.5)
    grown = with_new_items(model, NEW)
    histories = sequences([0, 3, 5], [], [7, 1])
    before, after = model.scorer().scores(histories), grown.scorer().scores(histories)
    np.testing.assert_allclose(after[:, :ITEMS], before, rtol=1e-5, atol=1e-6)
    cold = np.arange(ITEMS + 2) >= ITEMS
    assert (grown.met == ~cold).all()
    mean = neighbour_means(grown, cold)[:ITEMS, ITEMS:]
    np.testing.assert_allclose(after[:, ITEMS:], before @ mean - 0.5, rtol=1e-4, atol=1e-5)
    text = encode_texts(model.encoder, model.tokenizer, TEXTS)
    torch.testing.assert_close(grown.text_vectors[ITEMS:], text)
    assert np.isfinite(grown.scorer().scores(sequences([ITEMS, 0, ITEMS + 1]))).all()


def test_the_catalogue_keeps_its_order_and_its_columns(backbone: Path) -> None:
    model = recommender(backbone)
    grown = with_new_items(model, NEW).catalogue
    assert grown.item_ids == [*model.catalogue.item_ids, "n0", "n1"]
    assert grown.texts == [*model.catalogue.texts, *TEXTS]
    assert list(grown.columns.columns) == list(model.catalogue.columns.columns)
    assert grown.index["n1"] == ITEMS + 1
