"""The graphs that an export compiles, with the inputs and outputs that the contract declares.

Slots of `NO_ITEM` in a history, which stand at its end, and among the items to leave out count for
nothing, so that an engine that takes no empty tensor can be given one of them instead.
"""

from __future__ import annotations

import inspect
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from builder.model.interest import MASKED, InterestAdapter
from builder.model.neighbourhood import Neighbourhood
from builder.model.recommender import Recommender
from builder.model.text_encoder import TextEncoder
from model_repository.core.items import EDGE, NEIGHBOURS, SHORTEST
from model_repository.slots import EXCLUDED_LOGIT, NO_ITEM

LinearForm = Literal["scatter_add", "rows"]
"""How the linear term sums what the events of a history speak for; the sums are the same.

``scatter_add`` adds into one row of the catalogue: the fastest form on a processor, and refused by
TensorRT, whose scatter cannot add. ``rows`` scatters each event into a row of its own, where no
place is met twice, and sums the rows with one matrix product.
"""


class NewItems(NamedTuple):
    """Items known by text alone: FP [R, d], and their neighbours, INT64 and FP [R, k], if any."""

    vectors: Tensor
    items: Tensor | None
    weights: Tensor | None


class EncoderGraph(nn.Module):
    """INPUT_IDS INT32 [R, L] → VECTOR FP32 [R, h]."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        vectors: Tensor = self.encoder(input_ids)
        return vectors


class PackedEncoderGraph(nn.Module):
    """Texts back to back, INPUT_IDS and TEXT INT32 [T], FIRST INT32 [R] → VECTOR FP32 [R, h].

    No token sees those of another text. ``first_position`` is the position id of a first token.
    """

    def __init__(self, encoder: TextEncoder, first_position: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.first_position = first_position
        asked = inspect.signature(encoder.backbone.forward).parameters
        # BERT would take as many of its own as it has positions, and a pack may be longer.
        self.types = "token_type_ids" in asked

    def forward(self, input_ids: Tensor, text: Tensor, first: Tensor) -> Tensor:
        text, first = text.long(), first.long()
        place = torch.arange(len(text), device=text.device) - first[text] + self.first_position
        together = text.unsqueeze(0) == text.unsqueeze(1)
        types = {"token_type_ids": torch.zeros_like(place).unsqueeze(0)} if self.types else {}
        hidden = self.encoder.backbone(
            input_ids.long().unsqueeze(0),
            attention_mask=torch.where(together, 0.0, MASKED)[None, None],
            position_ids=place.unsqueeze(0),
            **types,
        ).last_hidden_state
        return self.encoder.pool_packed(hidden[0], text, first)


class _Interest(nn.Module):
    """What adapter and retriever share: the catalogue, texts beside it, the history."""

    item_vectors: Tensor
    item_bias: Tensor
    linear_index: Tensor
    linear_value: Tensor
    decay: Tensor
    text_mean: Tensor
    text_weight: Tensor
    text_bias: Tensor
    neighbour: Tensor
    neighbour_direction: Tensor

    def __init__(self, model: Recommender, linear_form: LinearForm = "scatter_add") -> None:
        super().__init__()
        self.adapter: InterestAdapter = model.adapter
        self.linear_form = linear_form
        vectors, bias = model.item_vectors()
        # Scoring an item adds this much for each event, so weight and prune once, here.
        value = torch.from_numpy(model.linear.value) * model.linear.weight
        # int64: the tools refuse int32 where indices come out of a gather. What adds nothing goes
        # behind the catalogue, so that the items of a row differ.
        index = torch.from_numpy(model.linear.index).long()
        if linear_form == "rows":
            index = torch.where(value == 0, len(vectors), index)
        ages = torch.arange(model.adapter.config.max_history, dtype=torch.float32)
        neighbourhood = Neighbourhood.served(model)
        for name, tensor in {
            "item_vectors": vectors,
            "item_bias": bias,
            "linear_index": index,
            "linear_value": value,
            "decay": torch.tensor(model.linear.decay) ** ages,
            "text_mean": torch.from_numpy(neighbourhood.text_mean),
            "text_weight": torch.from_numpy(neighbourhood.text_weight),
            "text_bias": torch.from_numpy(neighbourhood.text_bias),
            "neighbour": torch.from_numpy(neighbourhood.items).long(),
            "neighbour_direction": torch.from_numpy(neighbourhood.directions),
        }.items():
            self.register_buffer(name, tensor.detach().clone())
        self.scale = model.calibration.scale
        self.shift = model.calibration.shift
        self.ceiling = model.calibration.ceiling

    def from_text(self, vector: Tensor) -> NewItems:
        """Text vectors FP [R, h] → the items that they stand for; as in `InterestModel`."""
        centred = vector - self.text_mean
        projected = centred @ self.text_weight + self.text_bias
        if not len(self.neighbour):
            return NewItems(projected, None, None)
        directions = [_unit(centred), _unit(projected)]
        alike = torch.cat(directions, dim=1) @ self.neighbour_direction.T
        found, place = alike.topk(min(NEIGHBOURS, len(self.neighbour)), dim=1)
        weight = found - found[:, -1:] + EDGE
        weight = weight / weight.sum(dim=1, keepdim=True)
        items = self.neighbour[place]
        vectors = (weight.unsqueeze(1) @ self.item_vectors[items]).squeeze(1)
        return NewItems(vectors, items, weight)

    def vectors(self, slots: Tensor, fresh: Tensor) -> Tensor:
        """Item vectors FP [1, T, d] of slots INT64 [1, T]; `fresh` are the rows FP [R, d]."""
        known = self.item_vectors[slots.clamp(min=0)]
        return torch.where((slots >= 0).unsqueeze(-1), known, fresh[_row(slots)])

    def user_state(
        self, history: Tensor, fresh: Tensor, action: Tensor, gap: Tensor, profile: Tensor | None
    ) -> Tensor:
        """User state FP [1, d] after the events of a history INT64 [1, H]."""
        known = None if profile is None else profile.long()
        states = self.adapter.states(self.vectors(history, fresh), action, gap, known)
        return states[:, _events(history)]

    def linear(self, history: Tensor) -> Tensor:
        """Weighted linear term FP [1, n] of a history INT64 [1, H]."""
        place = torch.arange(history.shape[1], device=history.device)
        age = (_events(history) - 1 - place).clamp(min=0)
        weight = self.decay[age] * (history[0] >= 0).to(self.decay.dtype)
        row = history[0].clamp(min=0)
        items = len(self.item_bias)
        if self.linear_form == "rows":
            blank = weight.new_zeros(history.shape[1], items + 1)
            spoken = blank.scatter(1, self.linear_index[row], self.linear_value[row])
            return (weight.unsqueeze(0) @ spoken)[:, :items]
        added = self.linear_value[row] * weight.unsqueeze(-1)
        total = torch.zeros_like(self.item_bias).unsqueeze(0)
        return total.scatter_add(1, self.linear_index[row].reshape(1, -1), added.reshape(1, -1))

    def by_neighbours(self, candidate: Tensor, fresh: NewItems, by_id: Tensor) -> Tensor:
        """What stands for `by_id` FP [n] of candidates that are new, FP [1, N] or, of all, []."""
        if fresh.items is None or fresh.weights is None:
            return by_id.new_zeros(())
        return (by_id[fresh.items] * fresh.weights).sum(dim=1)[_row(candidate)]

    def interest(self, logit: Tensor) -> Tensor:
        return self.ceiling * torch.sigmoid(self.scale * logit + self.shift)


class AdapterGraph(_Interest):
    """History and candidates → INTEREST and LOGIT FP32 [1, N].

    A candidate without an item gets NaN for both.
    """

    def forward(
        self,
        vector: Tensor,
        history: Tensor,
        action: Tensor,
        gap: Tensor,
        candidate: Tensor,
        profile: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        history, candidate = history.long(), candidate.long()
        fresh = self.from_text(vector)
        state = self.user_state(history, fresh.vectors, action.long(), gap.long(), profile)
        by_id = self.item_bias + self.linear(history)[0]
        logit = (self.vectors(candidate, fresh.vectors) @ state.unsqueeze(-1)).squeeze(-1)
        known = by_id[candidate.clamp(min=0)]
        new = self.by_neighbours(candidate, fresh, by_id)
        logit = logit + torch.where(candidate >= 0, known, new)
        logit = torch.where(candidate == NO_ITEM, torch.nan, logit)
        return self.interest(logit), logit


class RetrieverGraph(_Interest):
    """History → INDEX INT32, INDEX_INTEREST and INDEX_LOGIT FP32 [1, M], best first."""

    cold: Tensor

    def __init__(
        self, model: Recommender, retrieved: int, linear_form: LinearForm = "scatter_add"
    ) -> None:
        super().__init__(model, linear_form)
        self.retrieved = retrieved
        self.place = model.cold_place
        self.register_buffer("cold", torch.from_numpy(~model.met))

    def forward(
        self,
        vector: Tensor,
        history: Tensor,
        action: Tensor,
        gap: Tensor,
        exclude: Tensor,
        profile: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        history = history.long()
        fresh = self.from_text(vector)
        state = self.user_state(history, fresh.vectors, action.long(), gap.long(), profile)
        logit = state @ self.item_vectors.T + self.item_bias + self.linear(history)
        # What names no item is left out of a place behind the catalogue.
        items = len(self.item_bias)
        place = torch.where(exclude < 0, items, exclude.long())
        spare = torch.nn.functional.pad(logit, (0, 1))
        logit = self.with_cold_items(spare.scatter(1, place, EXCLUDED_LOGIT)[:, :items])
        best, index = logit.topk(self.retrieved, dim=1)
        return index.int(), self.interest(best), best

    def with_cold_items(self, logit: Tensor) -> Tensor:
        """Logits FP [1, n] with the cold items where they come, see `cold_place.lift`."""
        if not self.place:
            return logit
        known = torch.where(self.cold, EXCLUDED_LOGIT, logit).topk(self.place, dim=1).values
        before, after = known[:, -2:-1], known[:, -1:]
        best = torch.where(self.cold, logit, EXCLUDED_LOGIT).amax(dim=1, keepdim=True)
        least = EXCLUDED_LOGIT / 2
        moved = self.cold & (logit > least) & (best > least) & (after > least)
        return torch.where(moved, logit + ((before + after) / 2 - best).clamp(min=0), logit)


class StateGraph(nn.Module):
    """The events of many users → their states FP32 [U, d], without what their profiles add.

    Takes item vectors FP32 [U, H, d], action ids and gap buckets INT32 [U, H], and the number of
    events of each user INT32 [U]; what lies behind those of a user counts for nothing.
    """

    def __init__(self, adapter: InterestAdapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, event: Tensor, action: Tensor, gap: Tensor, length: Tensor) -> Tensor:
        return self.adapter.last_states(event, action.long(), gap.long(), length.long())


def _row(slots: Tensor) -> Tensor:
    """Rows of the texts that slots INT64 name; 0 for the others."""
    row = torch.where(slots < 0, -slots - 1, 0)
    return torch.where(slots == NO_ITEM, 0, row)


def _unit(vectors: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / length.clamp(min=SHORTEST)


def _events(history: Tensor) -> Tensor:
    """Number of events, INT64 [], of a history INT64 [1, H] with `NO_ITEM` at its end."""
    return (history[0] != NO_ITEM).sum()
