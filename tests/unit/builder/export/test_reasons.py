"""What an export holds so that a server can name reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from builder.export.reasons import with_reasons
from builder.model.cold_items import neighbour_means, stand_in
from builder.model.recommender import Recommender
from builder.model.scoring import catalogue_of
from model_repository.core.reasons import NAMED
from tests.unit.builder.model.tiny import ITEMS

COLD = np.isin(np.arange(ITEMS), [4, 11])


def test_the_nearest_of_the_neighbours_of_each_cold_item(model: Recommender) -> None:
    known = stand_in(replace(model, warm=~COLD), COLD)
    found = with_reasons(catalogue_of(known), known).cold_neighbours
    weights = neighbour_means(known, COLD).toarray()[:, COLD].T
    np.testing.assert_array_equal(found, np.argsort(-weights, kind="stable")[:, :NAMED])
    assert found.dtype == np.int32
    assert found.flags.c_contiguous


def test_nothing_stands_for_items_that_are_all_known(model: Recommender) -> None:
    assert with_reasons(catalogue_of(model), model).cold_neighbours.size == 0
    nobody = replace(model, warm=np.zeros(ITEMS, np.bool_))
    assert with_reasons(catalogue_of(nobody), nobody).cold_neighbours.shape == (ITEMS, 0)


def test_the_text_says_what_is_left_without_the_residual(model: Recommender) -> None:
    catalogue = with_reasons(catalogue_of(model), model)
    with torch.no_grad():
        residual = model.adapter.residual.weight.numpy()
    assert residual.any()
    np.testing.assert_allclose(
        catalogue.vectors - catalogue.text_part, residual, rtol=1e-4, atol=1e-5
    )
