from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from builder.errors import GateError
from builder.export.text_gate import check_texts
from builder.model.recommender import Recommender, with_text_vectors
from tests.unit.builder.export.checkpoints import VALIDATION
from tests.unit.builder.model.tiny import ITEMS, sequences


def test_the_same_vectors_lose_nothing_and_others_are_refused(model: Recommender) -> None:
    figure = check_texts(model, model, VALIDATION, bound=0.0)
    assert figure.engine == figure.checkpoint > 0
    gains = {
        seed: check_texts(
            model, with_text_vectors(model, _noise(model, seed)), VALIDATION, bound=np.inf
        ).engine
        for seed in range(8)
    }
    worst = min(gains, key=gains.__getitem__)
    assert gains[worst] < figure.checkpoint
    with pytest.raises(GateError, match=r"texts: NDCG@10 on \d+ validation users, .* fp32"):
        check_texts(model, with_text_vectors(model, _noise(model, worst)), VALIDATION, bound=0.005)


def test_items_keep_their_vectors_when_texts_get_others(model: Recommender) -> None:
    other = with_text_vectors(model, _noise(model, 0))
    torch.testing.assert_close(other.item_vectors(), model.item_vectors())
    histories = sequences([0, 3], [])
    np.testing.assert_allclose(
        other.scorer().scores(histories), model.scorer().scores(histories), rtol=1e-4, atol=1e-5
    )


def test_an_item_that_nobody_met_is_a_text_as_well(model: Recommender) -> None:
    model = replace(model, warm=np.arange(ITEMS) > 2)
    assert check_texts(model, model, VALIDATION, bound=0.0).checkpoint > 0


def _noise(model: Recommender, seed: int) -> torch.Tensor:
    return torch.randn(model.text_vectors.shape, generator=torch.Generator().manual_seed(seed))
