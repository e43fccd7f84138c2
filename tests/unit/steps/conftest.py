"""A small catalogue and a real WordPiece tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from model_repository.core import contract
from model_repository.core.batch import Request
from model_repository.engines.tokenizer import TextTokenizer
from model_repository.steps.tokenizer import RequestTokenizer, TokenizerSettings

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["toy", "story", "the", "matrix", "a", "film", "about", "cat", "##s", "dog", "##gy"]
ITEMS = [f"i{index}" for index in range(20)]
ACTIONS = ["view", "buy"]
MAX_LENGTH = 16
MAX_ROWS = 8
MAX_HISTORY = 6


@dataclass(frozen=True)
class Parts:
    """The files that an export puts beside the code."""

    directory: Path
    tokenizer: Tokenizer


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    directory = tmp_path_factory.mktemp("tokenizer")
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As published ones do: it carries padding and truncation that must not take effect.
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    (directory / "items.json").write_text(json.dumps(ITEMS))
    settings = {
        "max_rows": MAX_ROWS,
        "length_buckets": [4, 8, MAX_LENGTH],
        "pad_id": 0,
        "max_history": MAX_HISTORY,
        "actions": ACTIONS,
        "max_top_k": 5,
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    return Parts(directory, tokenizer)


@pytest.fixture(scope="session")
def tokenize(parts: Parts) -> RequestTokenizer:
    settings = TokenizerSettings([4, 8, MAX_LENGTH], 0, MAX_ROWS)
    tokenizer = TextTokenizer(parts.directory / "tokenizer.json", MAX_LENGTH)
    return RequestTokenizer(settings, tokenizer)


def strings(values: Sequence[str | bytes]) -> NDArray[Any]:
    row = [value.encode() if isinstance(value, str) else value for value in values]
    return np.array([row], np.object_).reshape(1, len(row))


def user(
    history: Sequence[str | bytes] = (),
    *,
    parameters: Mapping[str, object] | None = None,
    times: Sequence[int] | None = None,
    **columns: Sequence[str | bytes],
) -> Request:
    """Name the tensors as the contract does: ``history_text`` is HISTORY_TEXT."""
    specs = {spec.name: spec for spec in (*contract.RANK.inputs, *contract.RECOMMEND.inputs)}
    tensors = {specs[name.upper()].name: strings(values) for name, values in columns.items()}
    tensors[contract.HISTORY.name] = strings(history)
    if times is not None:
        tensors[contract.HISTORY_TIME.name] = np.array([times], np.int64).reshape(1, -1)
    return Request(tensors, json.dumps(parameters) if parameters else "")


def plain(*texts: str | bytes) -> Request:
    return Request({contract.TEXT.name: strings(texts).reshape(-1, 1)})


Tokens = dict[str, NDArray[Any]]
Answer = Callable[[Request], Tokens]


@pytest.fixture(scope="session")
def answer(tokenize: RequestTokenizer) -> Answer:
    """Return one request's tensors, or raise what it is refused with."""

    def one(request: Request) -> Tokens:
        (outcome,) = tokenize([request])
        if isinstance(outcome, Exception):
            raise outcome
        return dict(outcome)

    return one
