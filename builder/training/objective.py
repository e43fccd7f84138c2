"""What is learnt: the next item, at every position of every history.

Softmax cross-entropy over the catalogue. Above `FULL_SOFTMAX_LIMIT` items the softmax is over the
items of the batch and uniformly drawn ones, each logit corrected by the logarithm of the chance
that its item is among them (logQ, Bengio & Senécal 2008).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from builder.model.interest import InterestAdapter
from builder.training.text_vectors import TextVectors

FULL_SOFTMAX_LIMIT: Final = 8_192
SAMPLED_ITEMS: Final = 4_096
NO_TARGET: Final = -100


class NextItemObjective(nn.Module):
    """The adapter, the text vectors that it reads, and the loss, as one module for a Trainer.

    Parameters
    ----------
    adapter
        Learns.
    text
        Gives the text vectors of catalogue items; learns or not.
    popularity
        Training events of each item, INT64 [n]; the sampled softmax corrects by it.
    id_dropout
        Share of items that are known by their text alone in a step.
    """

    popularity: Tensor

    def __init__(
        self,
        adapter: InterestAdapter,
        text: TextVectors,
        popularity: Tensor,
        *,
        id_dropout: float,
        feature_dropout: float,
    ) -> None:
        super().__init__()
        self.adapter = adapter
        self.text = text
        self.id_dropout = id_dropout
        self.feature_dropout = feature_dropout
        self.register_buffer("popularity", popularity, persistent=False)

    def forward(
        self, items: Tensor, targets: Tensor, actions: Tensor, gaps: Tensor
    ) -> dict[str, Any]:
        """Mean cross-entropy of the next item.

        Parameters
        ----------
        items, actions, gaps
            INT64 [B, S], padded on the right with 0.
        targets
            INT64 [B, S + 1]: what follows the first 0, 1, … S events, else `NO_TARGET`.
        """
        candidates, correction = self._candidates(targets)
        vectors, bias = self._item_vectors(candidates)
        place = torch.zeros(self.adapter.config.items, dtype=torch.long, device=items.device)
        place[candidates] = torch.arange(len(candidates), device=items.device)
        if self.training:
            # An event whose action or time is not known must read well too.
            known = torch.rand(2, len(items), 1, device=items.device) >= self.feature_dropout
            actions, gaps = actions * known[0], gaps * known[1]
        states = self.adapter.states(vectors[place[items]], actions, gaps)
        asked = targets != NO_TARGET
        logits = states[asked] @ vectors.T + bias - correction
        return {"loss": functional.cross_entropy(logits, place[targets[asked]])}

    def _item_vectors(self, items: Tensor) -> tuple[Tensor, Tensor]:
        text = self.adapter.from_text(self.text(items))
        # Without training events there is nothing to learn a residual from but that the item was
        # never the next one; such an item stays what its text says.
        known = self.popularity[items] > 0
        if self.training:
            known &= torch.rand(len(items), device=items.device) >= self.id_dropout
        keep = known.to(text.dtype)
        residual = self.adapter.residual(items) * keep.unsqueeze(-1)
        return text + residual, self.adapter.bias[items] * keep

    def _candidates(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        items = self.adapter.config.items
        if items <= FULL_SOFTMAX_LIMIT:
            everything = torch.arange(items, device=targets.device)
            return everything, torch.zeros(items, device=targets.device)
        asked = targets[targets != NO_TARGET]
        drawn = torch.randint(items, (SAMPLED_ITEMS,), device=targets.device)
        candidates = torch.unique(torch.cat([asked, drawn]))
        share = self.popularity[candidates] / self.popularity.sum()
        missed = (1 - share) ** len(asked) * (1 - 1 / items) ** SAMPLED_ITEMS
        return candidates, torch.log1p(-missed).clamp(min=-30)
