"""The graphs that an export compiles, with the inputs and outputs that the contract declares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from builder.model.interest import InterestAdapter
from builder.model.recommender import Recommender
from builder.model.text_encoder import TextEncoder
from model_repository.slots import EXCLUDED_LOGIT, NO_ITEM


class EncoderGraph(nn.Module):
    """INPUT_IDS INT32 [R, L] → VECTOR FP32 [R, h]."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        vectors: Tensor = self.encoder(input_ids)
        return vectors


class _Interest(nn.Module):
    """What adapter and retriever share: the catalogue, the history, the linear term."""

    item_vectors: Tensor
    item_bias: Tensor
    linear_index: Tensor
    linear_value: Tensor
    decay: Tensor

    def __init__(self, model: Recommender) -> None:
        super().__init__()
        self.adapter: InterestAdapter = model.adapter
        vectors, bias = model.item_vectors()
        # Scoring an item adds this much for each event, so weight and prune once, here.
        value = torch.from_numpy(model.linear.value) * model.linear.weight
        ages = torch.arange(model.adapter.config.max_history, dtype=torch.float32)
        for name, tensor in {
            "item_vectors": vectors,
            "item_bias": bias,
            # int64: the tools refuse int32 where indices come out of a gather.
            "linear_index": torch.from_numpy(model.linear.index).long(),
            "linear_value": value,
            "decay": torch.tensor(model.linear.decay) ** ages,
        }.items():
            self.register_buffer(name, tensor.detach().clone())
        self.scale = model.calibration.scale
        self.shift = model.calibration.shift

    def vectors(self, slots: Tensor, fresh: Tensor) -> Tensor:
        """Item vectors FP [1, T, d] of slots INT64 [1, T]; `fresh` are the rows FP [R, d]."""
        known = self.item_vectors[slots.clamp(min=0)]
        row = torch.where(slots < 0, -slots - 1, 0)
        encoded = fresh[torch.where(slots == NO_ITEM, 0, row)]
        return torch.where((slots >= 0).unsqueeze(-1), known, encoded)

    def user_state(self, history: Tensor, fresh: Tensor, action: Tensor, gap: Tensor) -> Tensor:
        """User state FP [1, d] after the whole history INT64 [1, H]."""
        states = self.adapter.states(self.vectors(history, fresh), action, gap)
        return states[:, -1]

    def linear(self, history: Tensor) -> Tensor:
        """Weighted linear term FP [1, n] of a history INT64 [1, H]."""
        events = history.shape[1]
        age = events - 1 - torch.arange(events, device=history.device)
        weight = self.decay[age] * (history[0] >= 0).to(self.decay.dtype)
        row = history[0].clamp(min=0)
        spoken = self.linear_value[row] * weight.unsqueeze(-1)
        total = torch.zeros_like(self.item_bias).unsqueeze(0)
        return total.scatter_add(
            1, self.linear_index[row].reshape(1, -1), spoken.reshape(1, -1)
        )

    def interest(self, logit: Tensor) -> Tensor:
        return torch.sigmoid(self.scale * logit + self.shift)


class AdapterGraph(_Interest):
    """History and candidates → INTEREST and LOGIT FP32 [1, N].

    A candidate without an item gets NaN for both.
    """

    def forward(
        self, vector: Tensor, history: Tensor, action: Tensor, gap: Tensor, candidate: Tensor
    ) -> tuple[Tensor, Tensor]:
        history, candidate = history.long(), candidate.long()
        fresh = self.adapter.from_text(vector)
        state = self.user_state(history, fresh, action.long(), gap.long())
        known = candidate.clamp(min=0)
        by_id = self.item_bias[known] + self.linear(history)[0][known]
        logit = (self.vectors(candidate, fresh) @ state.unsqueeze(-1)).squeeze(-1)
        logit = logit + torch.where(candidate >= 0, by_id, 0.0)
        logit = torch.where(candidate == NO_ITEM, torch.nan, logit)
        return self.interest(logit), logit


class RetrieverGraph(_Interest):
    """History → INDEX INT32, INDEX_INTEREST and INDEX_LOGIT FP32 [1, M], best first."""

    def __init__(self, model: Recommender, retrieved: int) -> None:
        super().__init__(model)
        self.retrieved = retrieved

    def forward(
        self, vector: Tensor, history: Tensor, action: Tensor, gap: Tensor, exclude: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        history = history.long()
        fresh = self.adapter.from_text(vector)
        state = self.user_state(history, fresh, action.long(), gap.long())
        logit = state @ self.item_vectors.T + self.item_bias + self.linear(history)
        logit = logit.scatter(1, exclude.long(), EXCLUDED_LOGIT)
        best, index = logit.topk(self.retrieved, dim=1)
        return index.int(), self.interest(best), best
