"""Classifiers of the four architectures that are real and very small, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece
from tokenizers.normalizers import BertNormalizer
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

ARCHITECTURES: Final = ("bert", "roberta", "distilbert", "electra")
MAX_LENGTH: Final = 24
_WORDS: Final = (
    "toy",
    "story",
    "the",
    "matrix",
    "film",
    "cat",
    "dog",
    "comedy",
    "action",
    "thriller",
)
_SHAPE: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,  # the usual 0.02 makes all texts of so small a model alike
}
_DISTILBERT_SHAPE: Final[dict[str, Any]] = {
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 32,
    "initializer_range": 0.3,
}


def write_classifier(
    directory: Path,
    architecture: str = "bert",
    *,
    labels: Sequence[str] = ("no", "yes"),
    problem_type: str | None = None,
    seed: int = 0,
) -> Path:
    """A checkpoint as Hugging Face lays it out."""
    roberta = architecture == "roberta"
    tokenizer = _byte_pairs() if roberta else _word_pieces(types=architecture != "distilbert")
    positions = MAX_LENGTH + (2 if roberta else 0)  # numbered from pad_id + 1
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        max_position_embeddings=positions,
        pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=1 if roberta else 2,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type=problem_type,
        **(_DISTILBERT_SHAPE if architecture == "distilbert" else _SHAPE),
    )
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases that are not 0
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def _word_pieces(*, types: bool) -> PreTrainedTokenizerFast:
    # Listed, not trained: the trainer breaks ties differently each time.
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list("0123456789")
    pieces = [*letters, *(f"##{letter}" for letter in letters), *_WORDS, *".,:()?!'"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(pieces)]
    tokenizer = Tokenizer(
        WordPiece({piece: place for place, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=names if types else ["input_ids", "attention_mask"],
    )


def _byte_pairs() -> PreTrainedTokenizerFast:
    merges = [("t", "h"), ("th", "e"), ("t", "o"), ("to", "y"), ("Ġ", "the"), ("o", "r")]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *alphabet, *map("".join, merges)]
    tokenizer = Tokenizer(
        BPE({piece: place for place, piece in enumerate(vocabulary)}, merges, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
    )
