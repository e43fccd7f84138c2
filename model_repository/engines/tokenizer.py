"""Text → token ids: one piece of code for training, the catalogue and live requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import Tokenizer

from ..core.arrays import Indices

Rows = Sequence[Sequence[int]]
"""Token ids of texts."""

_CHARACTERS_PER_TOKEN: Final = 64
"""What lies beyond this many characters per token of the longest length is never looked at, so
that a megabyte of text costs no more than a page of it."""
STAND_IN: Final = "."
"""What a text of no tokens is read as; a network needs at least one."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """The tokens of one text or pair, special tokens included.

    ``types`` says of each token whether it belongs to the first (0) or the second text (1), as the
    tokenizer's own template has it.
    """

    tokens: list[int]
    truncated: bool = False
    types: list[int] = field(default_factory=list)


class TextTokenizer:
    """Cuts texts to `max_length` tokens, special tokens included; pads nothing.

    No row is empty: where there are no special tokens, a text of spaces is read as `STAND_IN`.

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
        self._stand_in = self._tokenizer.encode(STAND_IN)

    def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[TokenRow]:
        """Tokenize texts, each alone or with its second text; an empty second text is none.

        Of a pair that is too long, the longer text is cut first.
        """
        seconds = pairs or [""] * len(texts)
        limit = _CHARACTERS_PER_TOKEN * self.max_length
        encodings = self._tokenizer.encode_batch_fast(
            [
                (text[:limit], second[:limit]) if second else text[:limit]
                for text, second in zip(texts, seconds, strict=True)
            ]
        )
        return [
            TokenRow(
                encoding.ids or self._stand_in.ids,
                truncated=max(len(text), len(second)) > limit
                or (len(encoding.ids) == self.max_length and bool(encoding.overflowing)),
                types=encoding.type_ids or self._stand_in.type_ids,
            )
            for text, second, encoding in zip(texts, seconds, encodings, strict=True)
        ]


def pad(rows: Rows, pad_id: int, length: int | None = None) -> Indices:
    """Rows of token ids as INT32 [R, L], padded at the end: to a length, or to the longest."""
    ids = np.full((len(rows), length or max(map(len, rows))), pad_id, np.int32)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = row
    return ids
