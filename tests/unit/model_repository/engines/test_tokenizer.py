from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from model_repository.engines.tokenizer import TextTokenizer
from tests.unit.model_repository.conftest import Parts

NOTHING = ["", " ", "\t\n", "\u200b", "\u200d\ufeff", " " * 100_000]


@pytest.fixture
def plain_file(parts: Parts, tmp_path: Path) -> Path:
    """A tokenizer without special tokens, which knows the full stop."""
    tokenizer = Tokenizer.from_str(parts.tokenizer.to_str())
    tokenizer.post_processor = None
    tokenizer.add_tokens(["."])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_a_text_of_no_tokens_is_read_as_a_full_stop(plain_file: Path) -> None:
    tokenize = TextTokenizer(plain_file, 8)
    stop, toy, *others = tokenize([".", "toy", *NOTHING])
    assert (len(stop.tokens), toy.tokens) == (1, [4])
    assert all((row.tokens, row.types) == (stop.tokens, stop.types) for row in others)
    assert [row.truncated for row in others] == [False] * 5 + [True]
    pairs = tokenize(["", " ", "\u200b", "toy", ""], ["", "", "\u200b", " ", "toy"])
    assert [row.tokens for row in pairs] == [stop.tokens] * 3 + [toy.tokens] * 2


def test_special_tokens_are_tokens(parts: Parts) -> None:
    tokenize = TextTokenizer(parts.directory / "tokenizer.json", 8)
    assert [row.tokens for row in tokenize(NOTHING)] == [[2, 3]] * len(NOTHING)


def test_the_file_s_own_truncation_does_not_count(parts: Parts, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(parts.tokenizer.to_str())
    tokenizer.enable_truncation(5, direction="left")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (row,) = TextTokenizer(tmp_path / "tokenizer.json", 6)(["toy story the matrix a film"])
    assert (row.tokens, row.truncated) == ([2, 4, 5, 6, 7, 3], True)
