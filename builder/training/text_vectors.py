"""Where training gets the text vectors of catalogue items from."""

from __future__ import annotations

from math import ceil
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from builder.model.text_encoder import LowerLayers, NoLowerLayers, TextEncoder
from builder.training.parallel import in_parts
from model_repository.core.length_batches import length_batches


class TextVectors(Protocol):
    """Catalogue indices INT64 [m] → text vectors FP [m, h]."""

    def __call__(self, items: Tensor) -> Tensor: ...


class FrozenTextVectors(nn.Module):
    """Text vectors that do not learn, each computed once."""

    vectors: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors, persistent=False)

    def forward(self, items: Tensor) -> Tensor:
        return self.vectors[items]


class TunedTextVectors(nn.Module):
    """Text vectors whose upper layers learn; the states that they start from are cached.

    A training step sends `learning` texts, drawn at random, through the layers, and takes the
    others as they last came out, without a gradient. What a step costs then does
    not grow with the catalogue. To draw the texts of a step's targets eight times as often helped
    the first half of the stage alone: in the end text alone had .1316 on movietweetings-100k's
    validation users and .1308 without, and .1293 and .1377 on MovieLens-100K's.

    Parameters
    ----------
    encoder
        Its lower layers have been taken off, see `LowerLayers`.
    lower
        What was taken off.
    states
        What `lower.hidden` gave for each item, FP [tokens of the item, h] or INT [tokens of the
        item], without padding.
    latest
        Text vectors FP [n, h] to begin with.
    learning
        Most texts that go through the layers in a training step.
    batch
        Most texts that go through the layers together, of about the same length.
    accumulate
        How many parts a step is made of, to save memory: the texts that go together are fewer,
        and what the layers made of them is worked out again for the gradient.
    """

    latest: Tensor

    def __init__(
        self,
        encoder: TextEncoder,
        lower: LowerLayers | NoLowerLayers,
        states: list[Tensor],
        latest: Tensor,
        *,
        learning: int,
        batch: int = 128,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.learning = learning
        # Part of a Trainer's checkpoint, so that a resumed run continues as it would have.
        self.register_buffer("latest", latest.clone())
        self._lower = lower
        self._states = states
        self._lengths = torch.tensor([len(state) for state in states])
        self._batch = ceil(batch / accumulate)
        self._again = accumulate > 1

    def forward(self, items: Tensor) -> Tensor:
        width = self.latest.shape[1]
        if not self.training:
            vectors = in_parts(self._compute, items, width)
            self.latest[items] = vectors.detach()
            return vectors
        drawn = torch.randperm(len(items))[: self.learning].to(items.device)
        learnt = in_parts(self._compute, items[drawn], width)
        self.latest[items[drawn]] = learnt.detach()
        return self.latest[items].index_copy(0, drawn, learnt)

    def _compute(self, items: Tensor) -> Tensor:
        lengths = self._lengths[items.cpu()].tolist()
        parts = [
            torch.tensor(part, device=items.device)
            for part in length_batches(lengths, most=self._batch)
        ]
        vectors = torch.cat([self._upper(*self._padded(items[part])) for part in parts]).float()
        return vectors[torch.argsort(torch.cat(parts))]

    def _upper(self, states: Tensor, mask: Tensor) -> Tensor:
        if not (self._again and self.training):
            return self._lower.upper(states, mask)
        vectors: Tensor = checkpoint(self._lower.upper, states, mask, use_reentrant=False)
        return vectors

    def _padded(self, items: Tensor) -> tuple[Tensor, Tensor]:
        states = [self._states[item] for item in items.tolist()]
        hidden = nn.utils.rnn.pad_sequence(states, batch_first=True)
        lengths = self._lengths[items.cpu()]
        mask = torch.arange(hidden.shape[1]) < lengths.unsqueeze(-1)
        device = next(self.encoder.parameters()).device
        return hidden.to(device), mask.to(device)
