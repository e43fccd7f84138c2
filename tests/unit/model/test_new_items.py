from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from builder.data import Catalogue
from builder.model.new_items import with_new_items
from builder.model.recommender import encode_texts
from tests.unit.model.tiny import ITEMS, recommender, sequences

TEXTS = ["the matrix", "a film about cats"]
NEW = Catalogue(["n0", "n1"], TEXTS, pd.DataFrame({"title": TEXTS, "colour": ["red", "blue"]}))


def test_known_items_score_as_before_and_new_ones_as_their_text_does(backbone: Path) -> None:
    model = recommender(backbone)
    grown = with_new_items(model, NEW)
    histories = sequences([0, 3, 5], [], [7, 1])
    before, after = model.scorer().scores(histories), grown.scorer().scores(histories)
    np.testing.assert_allclose(after[:, :ITEMS], before, rtol=1e-5, atol=1e-6)
    text = encode_texts(model.encoder, model.tokenizer, TEXTS)
    vectors, bias = grown.item_vectors()
    torch.testing.assert_close(vectors[ITEMS:], model.adapter.from_text(text))
    assert not bias[ITEMS:].any()
    by_text = grown.scorer("text").scores(histories)
    by_network = grown.scorer("network").scores(histories)
    # An empty history reads no item: what differs there are the candidates alone.
    np.testing.assert_allclose(by_text[1, ITEMS:], by_network[1, ITEMS:], rtol=1e-5)
    assert np.isfinite(grown.scorer().scores(sequences([ITEMS, 0, ITEMS + 1]))).all()


def test_the_catalogue_keeps_its_order_and_its_columns(backbone: Path) -> None:
    model = recommender(backbone)
    grown = with_new_items(model, NEW).catalogue
    assert grown.item_ids == [*model.catalogue.item_ids, "n0", "n1"]
    assert grown.texts == [*model.catalogue.texts, *TEXTS]
    assert list(grown.columns.columns) == list(model.catalogue.columns.columns)
    assert grown.index["n1"] == ITEMS + 1
