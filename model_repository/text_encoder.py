"""Texts → vectors in one process: tokenizer and BERT."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .batch import Outcome, Request, Tensors, attempt, attempt_together
from .options import Options
from .text_cache import EncodedText, TextCache
from .text_tokenizer import TextTokenizer
from .token_encoder import TokenEncoder
from .wire import texts

Count = Callable[[int, int], None]
"""Is told how many texts went through BERT, and how many were known already."""


class EncodeRequests:
    """VECTOR [B, h] and TRUNCATED [B, 1] of the TEXT [B, 1] of each request.

    A text that is in a batch twice, or was there not long ago, is encoded once.

    Parameters
    ----------
    directory
        Holds what `TokenEncoder` reads, ``tokenizer.json`` (of the ``tokenizers`` library) and in
        ``settings.json`` ``max_length``, where texts are cut, in tokens, and ``cached_texts``, how
        many are remembered.
    """

    def __init__(self, directory: Path, count: Count = lambda _encoded, _known: None) -> None:
        settings = json.loads((directory / "settings.json").read_text("utf-8"))
        self._tokenize = TextTokenizer(directory / "tokenizer.json", settings["max_length"])
        self._encode = TokenEncoder(directory)
        self._cache = TextCache(settings["cached_texts"])
        self._count = count

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return the vectors of each request, or why there are none."""
        found = [attempt(_read, request) for request in requests]
        answers = iter(
            attempt_together(
                self._encode_all, [each for each in found if not isinstance(each, Exception)]
            )
        )
        return [each if isinstance(each, Exception) else next(answers) for each in found]

    def _encode_all(self, requests: Sequence[list[str]]) -> list[Tensors]:
        known = {
            text: self._cache.get(text)
            for text in {text: None for each in requests for text in each}
        }
        new = [text for text, entry in known.items() if entry is None]
        encoded = dict(zip(new, self._encode_new(new), strict=True))
        for text, entry in encoded.items():
            self._cache.put(text, entry)
        self._count(len(new), sum(map(len, requests)) - len(new))
        return [_answer([known[text] or encoded[text] for text in request]) for request in requests]

    def _encode_new(self, texts: Sequence[str]) -> list[EncodedText]:
        if not texts:
            return []
        rows = self._tokenize(texts)
        vectors = self._encode([row.tokens for row in rows])
        # Copies: a view would keep the vectors of the whole batch for as long as one is remembered.
        return [
            EncodedText(vector.copy(), row.truncated)
            for vector, row in zip(vectors, rows, strict=True)
        ]


def _answer(texts: Sequence[EncodedText]) -> Tensors:
    return {
        "VECTOR": np.stack([text.vector for text in texts]),
        "TRUNCATED": np.array([[text.truncated] for text in texts], np.int32),
    }


def _read(request: Request) -> list[str]:
    # None has an effect here, and one that does not exist is refused like anywhere.
    Options.from_parameters(request.parameters, max_top_k=1, catalogue_size=1)
    return texts(request.tensors, "TEXT")
