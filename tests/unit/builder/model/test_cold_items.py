from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builder.model.cold_items import neighbour_means, stand_in
from builder.model.neighbourhood import served_neighbourhood
from builder.model.popularity import Popularity
from builder.model.recommender import Recommender
from model_repository.core import items
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences

COLD = np.isin(np.arange(ITEMS), [4, 11])
HISTORIES = sequences([0, 3, 5], [], [7, 1, 2])


@pytest.fixture
def model(backbone: Path) -> Recommender:
    """Trained without events on 4 and 11: they have no residual, bias or linear term."""
    model = recommender(backbone)
    value = np.where(COLD[:, np.newaxis] | COLD[model.linear.index], 0, model.linear.value)
    with torch.no_grad():
        model.adapter.residual.weight[COLD] = 0
        model.adapter.bias[COLD] = 0
    return replace(
        model,
        linear=replace(model.linear, value=value.astype(np.float32)),
        warm=~COLD,
    )


def test_a_cold_item_scores_as_the_mean_of_its_neighbours(
    model: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "NEIGHBOURS", 3)
    full = stand_in(model, COLD)
    mean = neighbour_means(model, COLD).toarray()
    assert (mean[:, ~COLD] == 0).all()
    assert (np.count_nonzero(mean[:, COLD], axis=0) == 3).all()
    assert not mean[COLD].any()
    for part in ("full", "network"):
        before = model.scorer(part).scores(HISTORIES)
        after = full.scorer(part).scores(HISTORIES)
        np.testing.assert_allclose(after[:, ~COLD], before[:, ~COLD], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(after[:, COLD], (before @ mean)[:, COLD], rtol=1e-4)
    by_text, also = (each.scorer("text").scores(HISTORIES) for each in (model, full))
    np.testing.assert_array_equal(by_text, also)


def test_a_cold_item_is_as_popular_as_its_neighbours_and_placed_as_a_new_text_is(
    model: Recommender,
) -> None:
    random = np.random.default_rng(1)
    events, missed = random.uniform(0, 4, (2, ITEMS)).astype(np.float32)
    known = replace(model, popularity=Popularity(events, events + missed))
    bias, before = (stand_in(each, COLD).adapter.bias.detach().numpy() for each in (known, model))
    np.testing.assert_array_equal(bias[~COLD], before[~COLD])
    mean = neighbour_means(model, COLD).toarray()
    expected = before - mean.T @ events + np.log(mean.T @ np.exp(events + missed) + ~COLD)
    np.testing.assert_allclose(bias[COLD], expected[COLD], rtol=1e-4)
    vectors = known.item_vectors()[0].detach().numpy()
    placed = served_neighbourhood(known).place(known.text_vectors.numpy(), vectors)
    np.testing.assert_allclose(placed.bias[COLD], bias[COLD], rtol=1e-4)


def test_neighbours_are_alike_in_their_texts_and_in_what_the_network_makes_of_them(
    model: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "NEIGHBOURS", 1)
    with torch.no_grad():
        spaces = [model.text_vectors, model.adapter.from_text(model.text_vectors)]
    alike = torch.zeros(ITEMS, ITEMS)
    for vectors in spaces:
        centred = vectors - vectors[~COLD].mean(0)
        alike += torch.nn.functional.cosine_similarity(centred[:, None], centred[None], dim=2)
    alike[:, COLD] = -3
    expected = alike.argmax(1)[COLD]
    assert neighbour_means(model, COLD).toarray()[:, COLD].argmax(0).tolist() == expected.tolist()


def test_an_event_on_a_cold_item_speaks_for_what_its_neighbours_speak_for(
    model: Recommender,
) -> None:
    full = stand_in(model, COLD)
    known, all_items = model.linear.matrix.toarray(), full.linear.matrix.toarray()
    mean = neighbour_means(model, COLD).toarray()
    # A row holds as many known items as before, so the weakest of the mean may be missing.
    row, expected = all_items[4, ~COLD], (mean.T @ known)[4, ~COLD]
    kept = row != 0
    assert np.count_nonzero(kept) == model.linear.index.shape[1]
    np.testing.assert_allclose(row[kept], expected[kept], rtol=1e-5)
    assert np.abs(row[kept]).min() >= np.abs(expected[~kept]).max()


def test_nothing_stands_in_where_all_or_no_items_are_warm(model: Recommender) -> None:
    assert stand_in(model, np.zeros(ITEMS, bool)) is model
    none = replace(model, warm=np.zeros(ITEMS, bool))
    assert stand_in(none, np.ones(ITEMS, bool)) is none
