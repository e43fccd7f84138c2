"""A real WordPiece tokenizer, and requests as Triton hands them over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
from tests.unit.model_repository.backend import Backend, triton_backend

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["toy", "story", "the", "matrix", "a", "film", "about", "cat", "##s", "dog", "##gy"]
MAX_LENGTH = 16
MAX_ROWS = 8


@dataclass(frozen=True)
class Parts:
    """The files of a tokenizer's version, and the tokenizer without padding or truncation."""

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
    settings = {"max_rows": MAX_ROWS, "length_buckets": [4, 8, MAX_LENGTH], "pad_id": 0}
    (directory / "settings.json").write_text(json.dumps(settings))
    return Parts(directory, tokenizer)


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
    specs = {spec.name for spec in (*contract.RANK.inputs, *contract.RECOMMEND.inputs)}
    assert {name.upper() for name in columns} <= specs
    tensors = {name.upper(): strings(values) for name, values in columns.items()}
    tensors[contract.HISTORY.name] = strings(history)
    if times is not None:
        tensors[contract.HISTORY_TIME.name] = np.array([times], np.int64).reshape(1, -1)
    return Request(tensors, json.dumps(parameters) if parameters else "")


def plain(*texts: str | bytes) -> Request:
    return Request({contract.TEXT.name: strings(texts).reshape(-1, 1)})


@pytest.fixture
def backend() -> Iterator[Backend]:
    with triton_backend() as made:
        yield made
