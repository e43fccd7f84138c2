from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from builder.data import Catalogue
from builder.errors import DataError
from builder.model.cold_items import neighbour_means
from builder.model.new_items import with_catalogue, with_new_items
from builder.model.recommender import encode_texts
from tests.unit.builder.model.tiny import ITEM_PROFILE, ITEMS, recommender, sequences

TEXTS = ["the matrix", "a film about cats"]
NEW = Catalogue(["n0", "n1"], TEXTS, pd.DataFrame({"title": TEXTS, "colour": ["red", "blue"]}))


def test_known_items_score_as_before_and_new_ones_as_their_neighbours(backbone: Path) -> None:
    model = recommender(backbone)
    grown = with_new_items(model, NEW)
    histories = sequences([0, 3, 5], [], [7, 1])
    before, after = model.scorer().scores(histories), grown.scorer().scores(histories)
    np.testing.assert_allclose(after[:, :ITEMS], before, rtol=1e-5, atol=1e-6)
    cold = np.arange(ITEMS + 2) >= ITEMS
    assert (grown.warm == ~cold).all()
    mean = neighbour_means(grown, cold)[:ITEMS, ITEMS:]
    np.testing.assert_allclose(after[:, ITEMS:], before @ mean, rtol=1e-4, atol=1e-5)
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


def test_new_items_have_profiles_too(backbone: Path) -> None:
    model = recommender(backbone, item_profile=ITEM_PROFILE)
    rows = pd.DataFrame({"title": TEXTS, "genre": ["drama", "opera"], "year": ["1994", "2001"]})
    grown = with_new_items(model, Catalogue(["n0", "n1"], TEXTS, rows))
    known, ids = model.adapter.item_ids, grown.adapter.item_ids
    assert known is not None
    assert ids is not None
    torch.testing.assert_close(ids[:ITEMS], known)
    assert ids[ITEMS:].tolist() == [[2, 1], [0, 2]]
    # A file that lacks the columns says nothing of them.
    bare = with_new_items(model, NEW).adapter.item_ids
    assert bare is not None
    assert bare[ITEMS:].tolist() == [[0, 0], [0, 0]]
    histories = sequences([0, 3, 5], [], [7, 1])
    before, after = model.scorer("text").scores(histories), grown.scorer("text").scores(histories)
    np.testing.assert_allclose(after[:, :ITEMS], before, rtol=1e-5, atol=1e-6)


def test_a_warm_start_reads_the_profiles_of_its_own_catalogue(backbone: Path) -> None:
    model = recommender(backbone, item_profile=ITEM_PROFILE)
    rows = pd.DataFrame({"genre": ["drama", "comedy"], "year": ["2001", ""]})
    adapter = with_catalogue(model, Catalogue(["i3", "new"], TEXTS, rows), ["buy"])
    assert adapter.item_ids is not None
    assert adapter.item_ids.tolist() == [[2, 2], [1, 0]]
    for found, kept in zip(adapter.item_profile, model.adapter.item_profile, strict=True):
        torch.testing.assert_close(found, kept)


IMAGES = np.random.default_rng(0).normal(5, 3, (ITEMS, 4)).astype(np.float32)
IMAGES[3] = np.nan


def test_new_items_bring_vectors_of_other_modalities(backbone: Path) -> None:
    model = recommender(backbone, vectors={"image": IMAGES})
    own = np.stack([IMAGES[5], np.full(4, np.nan)]).astype(np.float32)
    grown = with_new_items(model, replace(NEW, vectors={"image": own}))
    known, found = model.adapter.item_modalities, grown.adapter.item_modalities
    assert known is not None
    assert found is not None
    torch.testing.assert_close(found[:ITEMS], known)
    torch.testing.assert_close(found[ITEMS], known[5])
    assert found[ITEMS + 1].tolist() == known[3].tolist() == [0] * 4
    histories = sequences([0, 3, 5], [], [7, 1])
    before, after = model.scorer().scores(histories), grown.scorer().scores(histories)
    np.testing.assert_allclose(after[:, :ITEMS], before, rtol=1e-5, atol=1e-6)
    # They count when neighbours are sought.
    bare = with_new_items(model, NEW)
    cold = np.arange(ITEMS + 2) >= ITEMS
    means = [neighbour_means(each, cold).toarray() for each in (grown, bare)]
    assert abs(means[0][:, ITEMS] - means[1][:, ITEMS]).max() > 0.01
    np.testing.assert_allclose(means[0][:, ITEMS + 1], means[1][:, ITEMS + 1], atol=1e-5)
    with pytest.raises(DataError, match="item vectors image: they have 3 numbers"):
        with_new_items(model, replace(NEW, vectors={"image": own[:, :3]}))


def test_a_warm_start_reads_the_vectors_of_its_own_catalogue(backbone: Path) -> None:
    model = recommender(backbone, vectors={"image": IMAGES, "sound": IMAGES[:, :2]})
    vectors = {"sound": IMAGES[[7, 8], :2], "image": IMAGES[[5, 6]]}
    rows = pd.DataFrame({"title": TEXTS})
    adapter = with_catalogue(model, Catalogue(["i3", "new"], TEXTS, rows, vectors), ["buy"])
    known = model.adapter.item_modalities
    assert known is not None
    assert adapter.item_modalities is not None
    torch.testing.assert_close(adapter.item_modalities[:, :4], known[[5, 6], :4])
    torch.testing.assert_close(adapter.item_modalities[:, 4:], known[[7, 8], 4:])
    torch.testing.assert_close(adapter.modality_mean, model.adapter.modality_mean)
