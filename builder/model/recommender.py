"""The trained model: what a checkpoint holds and an export compiles."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from builder.data.sequences import Sequences
from builder.data.tables import Catalogue
from builder.model.interest import InterestAdapter
from builder.model.linear import LinearTerm
from builder.model.popularity import UNKNOWN, Popularity
from builder.model.scoring import Part, PartScorer
from builder.model.text_encoder import TextEncoder
from builder.progress import Progress, silent
from model_repository.core.calibration import Calibration
from model_repository.core.length_batches import length_batches
from model_repository.core.profile import ProfileColumn
from model_repository.core.trend import NO_TREND, Trend
from model_repository.engines.tokenizer import TextTokenizer

_LAST_RANK: Final = 50
"""Largest rank that the best cold item is moved to: a server looks at all items before it."""


@dataclass(frozen=True, eq=False)
class Recommender:
    """A trained model.

    Attributes
    ----------
    encoder, tokenizer, adapter, linear, calibration
        Its parts.
    catalogue
        The n items that it knows.
    text_vectors
        FP32 [n, h], the encoder's vector of each item's text.
    actions
        Names of action ids 1, 2, …
    warm
        BOOL [n], which items have training events; the others are cold, see `cold_items`.
    cold_limit
        The first rank that a cold item may be moved to, from 2 to the number of warm items; 0
        where cold items keep the rank that their logit gives them.
    profile, item_profile
        The columns of a user's profile that it knows, and of an item's.
    modalities
        The columns with vectors of another modality that it knows of an item.
    popularity
        How popular they are, for the items without training events; earlier runs do not know.
    trend
        How much what is popular counts, and the counts as of the last event of the log.
    """

    encoder: TextEncoder
    tokenizer: TextTokenizer
    adapter: InterestAdapter
    linear: LinearTerm
    calibration: Calibration
    catalogue: Catalogue
    text_vectors: Tensor
    actions: Sequence[str]
    warm: NDArray[np.bool_]
    cold_limit: int = 0
    profile: Sequence[ProfileColumn] = ()
    item_profile: Sequence[ProfileColumn] = ()
    modalities: Sequence[str] = ()
    popularity: Popularity = UNKNOWN
    trend: Trend = NO_TREND

    @property
    def cold_rank(self) -> int:
        """The rank that the best cold item has at the latest; 0 for the rank of its logit.

        If cold items were spread evenly over the ranking, the first would have this rank on
        average. No cold item is moved before `cold_limit`.
        """
        cold = np.count_nonzero(~self.warm)
        if not cold or not self.cold_limit:
            return 0
        even = round((1 + len(self.warm) / cold) / 2)
        return int(np.clip(even, self.cold_limit, max(self.cold_limit, _LAST_RANK)))

    def scorer(
        self, part: Part = "full", log: Sequences | None = None, *, new_items: int = 0
    ) -> PartScorer:
        """Score with a part of the model; see `PartScorer`."""
        return PartScorer(self, part, log, new_items)

    @torch.no_grad()
    def item_vectors(self, *, text_only: bool = False) -> tuple[Tensor, Tensor]:
        """Item vectors FP32 [n, d] and biases FP32 [n]."""
        return item_vectors(self.adapter, self.text_vectors, text_only=text_only)


@torch.no_grad()
def with_text_vectors(model: Recommender, text_vectors: Tensor) -> Recommender:
    """With text vectors FP32 [n, h] of another engine, but the item vectors that it has."""
    adapter = copy.deepcopy(model.adapter)
    other = adapter.of_catalogue(text_vectors)
    adapter.residual.weight.copy_(model.item_vectors()[0] - other)
    return replace(model, adapter=adapter, text_vectors=text_vectors)


def item_vectors(
    adapter: InterestAdapter, text_vectors: Tensor, *, text_only: bool = False
) -> tuple[Tensor, Tensor]:
    """Item vectors FP [n, d] and biases FP [n] of the whole catalogue."""
    vectors = adapter.of_catalogue(text_vectors)
    if text_only:
        return vectors, torch.zeros_like(adapter.bias)
    return vectors + adapter.residual.weight, adapter.bias


@torch.no_grad()
def encode_texts(
    encoder: TextEncoder,
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    *,
    batch: int = 128,
    progress: Progress = silent,
) -> Tensor:
    """Text vectors FP32 [m, h] of texts, in their order; the encoder is left in eval mode."""
    encoder.eval()
    rows = [row.tokens for row in tokenizer(texts)]
    device = next(encoder.parameters()).device
    vectors = torch.empty(len(texts), encoder.width)
    done = 0
    for part in length_batches([len(row) for row in rows], most=batch):
        input_ids = pad_rows([rows[index] for index in part], encoder.pad_id)
        vectors[part] = encoder(input_ids.to(device)).float().cpu()
        done += len(part)
        progress("encode texts", done, len(texts))
    return vectors


def pad_rows(rows: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """Token ids INT64 [R, L], padded on the right to the longest row."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows])
