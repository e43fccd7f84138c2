"""The networks that an export compiles; their inputs and outputs are declared in the contract.

The network over events is `builder.model.scoring.UserEncoderGraph`, which evaluation runs too.
"""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from builder.classifier.checkpoint import Activation, Classifier
from builder.model.interest import MASKED
from builder.model.text_encoder import TextEncoder


class EncoderGraph(nn.Module):
    """INPUT_IDS INT32 [R, L] → VECTOR FP32 [R, h]."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        vectors: Tensor = self.encoder(input_ids)
        return vectors


class PackedEncoderGraph(nn.Module):
    """Texts back to back → VECTOR FP32 [R, h]; see ``PACKED_ENCODER`` in the contract.

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


class ClassifierGraph(nn.Module):
    """INPUT_IDS, and where the network has them TOKEN_TYPE_IDS, INT32 [R, L] → PROBABILITY.

    PROBABILITY is FP32 [R, labels]. The attention mask is derived from ``input_ids != pad_id``.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.model = classifier.model
        self.pad_id = classifier.pad_id
        self.activation: Activation = classifier.activation

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        mask = input_ids != self.pad_id
        logits = self.model(input_ids, attention_mask=mask, **types).logits
        # In FP32 whatever the network computes in: a probability near 1 has no digits to spare.
        return activate(logits.float(), self.activation)


def activate(logits: Tensor, activation: Activation) -> Tensor:
    """Logits [R, labels] → what PROBABILITY holds."""
    if activation == "softmax":
        return logits.softmax(-1)
    return logits.sigmoid() if activation == "sigmoid" else logits
