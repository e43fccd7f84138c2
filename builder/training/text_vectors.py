"""Where training gets the text vectors of catalogue items from."""

from __future__ import annotations

from math import ceil
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from builder.model.text_encoder import LowerLayers, NoLowerLayers, TextEncoder
from builder.training.parallel import in_parts
from model_repository.core.length_batches import length_batches

DRAWN: Final = 1 / 8
"""How likely the text of an item that competes by chance is to learn, beside that of a target.

On movietweetings-100k's validation users (seed 0) text alone had .1247 after 150 steps, and .1027
with 1. Where the whole catalogue competes it is 1: on MovieLens-100K text alone had .1377 in the
end, and .1293 where targets came first.
"""


class TextVectors(Protocol):
    """Catalogue indices INT64 [m] → text vectors FP [m, h].

    ``drawn`` BOOL [m] are those that compete in the step by chance, where not all items do.
    """

    def __call__(self, items: Tensor, drawn: Tensor | None = None, /) -> Tensor: ...


class FrozenTextVectors(nn.Module):
    """Text vectors that do not learn, each computed once."""

    vectors: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors, persistent=False)

    def forward(self, items: Tensor, _drawn: Tensor | None = None) -> Tensor:
        return self.vectors[items]


class TunedTextVectors(nn.Module):
    """Text vectors whose upper layers learn; the states that they start from are cached.

    A training step sends `learning` texts, drawn at random, through the layers, and takes the
    others as they last came out, without a gradient. What a step costs then does
    not grow with the catalogue. Items that compete by chance come last: a step tells less of them
    than of those that someone chose.

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

    def forward(self, items: Tensor, drawn: Tensor | None = None) -> Tensor:
        width = self.latest.shape[1]
        if not self.training:
            vectors = in_parts(self._compute, items, width)
            self.latest[items] = vectors.detach()
            return vectors
        weights = torch.ones(len(items))
        if drawn is not None:
            weights[drawn.cpu()] = DRAWN
        places = torch.multinomial(weights, min(self.learning, len(items))).to(items.device)
        learnt = in_parts(self._compute, items[places], width)
        self.latest[items[places]] = learnt.detach()
        return self.latest[items].index_copy(0, places, learnt)

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
