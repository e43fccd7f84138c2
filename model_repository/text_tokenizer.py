"""Text → token ids: one piece of code for training, the catalogue and live requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

_CHARACTERS_PER_TOKEN: Final = 64
"""What lies beyond this many characters per token of the longest length is never looked at, so
that a megabyte of text costs no more than a page of it."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """The tokens of one text, special tokens included."""

    tokens: list[int]
    truncated: bool = False


class TextTokenizer:
    """Cuts texts to `max_length` tokens, special tokens included; pads nothing.

    Parameters
    ----------
    file
        ``tokenizer.json`` of the ``tokenizers`` library.
    max_length
        Longest row in tokens.
    """

    def __init__(self, file: Path, max_length: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(file))
        # Published tokenizers carry the padding of their training; rows are padded by the caller.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self.max_length = max_length

    def __call__(self, texts: Sequence[str]) -> list[TokenRow]:
        limit = _CHARACTERS_PER_TOKEN * self.max_length
        encodings = self._tokenizer.encode_batch_fast([text[:limit] for text in texts])
        return [
            TokenRow(
                encoding.ids,
                truncated=len(text) > limit
                or (len(encoding.ids) == self.max_length and bool(encoding.overflowing)),
            )
            for text, encoding in zip(texts, encodings, strict=True)
        ]
