"""Small encoders of the families that text is told to."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from builder.model.pooling import Pooling
from builder.model.text_encoder import TextEncoder
from tests.unit.builder.model.tiny import SHAPE

PAD = 1  # as RoBERTa has it
DISTILBERT: dict[str, Any] = {
    "vocab_size": SHAPE["vocab_size"], "dim": 16, "hidden_dim": 32, "n_layers": 3, "n_heads": 2,
    "max_position_embeddings": 24, "initializer_range": 0.3, "pad_token_id": PAD,
}  # fmt: skip
BACKBONES = {
    "bert": transformers.BertConfig(**SHAPE, pad_token_id=PAD),
    "roberta": transformers.RobertaConfig(**SHAPE, pad_token_id=PAD),
    "xlm-roberta": transformers.XLMRobertaConfig(**SHAPE, pad_token_id=PAD),
    "distilbert": transformers.DistilBertConfig(**DISTILBERT),
    "electra": transformers.ElectraConfig(**SHAPE, embedding_size=16, pad_token_id=PAD),
    "electra-projected": transformers.ElectraConfig(**SHAPE, embedding_size=8, pad_token_id=PAD),
}


def encoder(name: str, pooling: Pooling = "mean") -> TextEncoder:
    torch.manual_seed(0)
    made = TextEncoder(transformers.AutoModel.from_config(BACKBONES[name]), PAD, pooling).eval()
    if made.query is not None:
        nn.init.normal_(made.query.weight)
    return made
