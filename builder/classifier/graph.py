"""The graph that an export of a classifier compiles: encoder, head and probability in one."""

from __future__ import annotations

from torch import Tensor, nn

from builder.classifier.checkpoint import Activation, Classifier


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
