"""Texts back to back in one row have the vectors that they have padded, or are not packed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, ModernBertConfig, MPNetConfig

from builder.export.sequence_packing import packed_graph
from builder.model.pooling import POOLINGS, Pooling
from builder.model.recommender import pad_rows
from builder.model.text_encoder import TextEncoder
from tests.unit.builder.model.backbones import BACKBONES, PAD, encoder
from tests.unit.builder.model.tiny import SHAPE

ROWS = [list(range(2, 2 + length)) for length in (3, 1, 7, 7, 2, 5, 9, 4)]


def assert_packs(model: TextEncoder) -> None:
    graph = packed_graph(model, ROWS)
    assert graph is not None
    # More tokens than the backbone has positions, and texts in another order than it was tried on.
    rows = [ROWS[place] for place in np.random.default_rng(0).permutation(len(ROWS))]
    ids = torch.tensor([token for row in rows for token in row], dtype=torch.int32)
    edges = np.cumsum([0, *map(len, rows)])
    assert edges[-1] > SHAPE["max_position_embeddings"]
    text = torch.cat(
        [torch.full((end - start,), number) for number, (start, end) in enumerate(pairwise(edges))]
    )
    with torch.no_grad():
        found = graph(ids, text, torch.from_numpy(edges[:-1]))
        expected = model(pad_rows(rows, PAD))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_are_packed(name: str) -> None:
    assert_packs(encoder(name))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_each_pooling_is_of_a_text_s_own_tokens(pooling: Pooling) -> None:
    assert_packs(encoder("bert", pooling))


def test_a_backbone_that_lets_texts_mix_is_not_packed() -> None:
    model = encoder("bert")
    model.backbone = Mixing(model.backbone)
    assert packed_graph(model, ROWS) is None


def modernbert() -> TextEncoder:
    """Two of its three layers look no further than 4 tokens."""
    config = ModernBertConfig(
        **SHAPE | {"max_position_embeddings": 64}, local_attention=8,
        pad_token_id=PAD, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    torch.manual_seed(0)
    return TextEncoder(AutoModel.from_config(config), PAD).eval()


def mpnet() -> TextEncoder:
    """Counts positions by what is not token 1, whatever the padding is."""
    torch.manual_seed(0)
    return TextEncoder(AutoModel.from_config(MPNetConfig(**SHAPE, pad_token_id=0)), 0).eval()


@pytest.mark.parametrize(
    ("model", "titles", "judged"),
    [
        (modernbert(), [[2, 5, 3], [2, 6, 7, 3]], [[2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 3]]),
        (mpnet(), [[1, 5, 2], [1, 6, 2]], [[1, 5, 2, 1, 6, 2]]),
    ],
    ids=["modernbert", "mpnet"],
)
def test_packing_is_tried_on_what_it_is_judged_by(
    model: TextEncoder, titles: list[list[int]], judged: list[list[int]]
) -> None:
    assert packed_graph(model, titles) is not None  # short titles do not show it
    assert packed_graph(model, titles, [np.array(judged, np.int32)]) is None
    assert packed_graph(model, titles, [pad_rows(titles, model.pad_id).int().numpy()]) is not None


class Mixing(nn.Module):
    """Looks at whatever its row holds, whatever the mask says."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None, **_: Any) -> Any:
        return self.backbone(input_ids, position_ids=position_ids)
