"""The model ``encode`` of the fused layout: texts → vectors in one process, tokenizer and BERT.

A version holds what `PackedEncoder` reads, ``tokenizer.json`` of the ``tokenizers`` library and in
``settings.json`` ``max_length``, where texts are cut, in tokens, and ``cached_texts``, how many are
remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..core.batch import Handler, Outcome, Prompt, Request, Tensors, read_and_answer
from ..core.contract import TEXT, TEXT_TRUNCATED, TEXT_VECTOR
from ..core.options import NO_OPTIONS
from ..core.tensors import texts
from ..engines.packed_encoder import PackedEncoder
from ..engines.settings import read_settings
from ..engines.text_cache import EncodedText, TextCache
from ..engines.tokenizer import TextTokenizer

Count = Callable[[int, int], None]
"""Is told how many texts went through BERT, and how many were known already."""


def load(directory: Path, model: str) -> Handler:
    from .server_metrics import Counters

    counters = Counters(
        model,
        directory.name,
        {
            "tritonrec_texts_encoded": "Number of texts that went through BERT",
            "tritonrec_texts_known": "Number of texts that were in the same batch already, or in "
            "the cache",
        },
    )
    return Encode(directory, counters.increment)


class Encode(Prompt):
    """VECTOR [B, h] and TRUNCATED [B, 1] of the TEXT [B, 1] of each request.

    A text that is in a batch twice, or was there not long ago, is encoded once.

    ``directory`` is a version of the model.
    """

    def __init__(self, directory: Path, count: Count = lambda _encoded, _known: None) -> None:
        settings = read_settings(directory)
        self._tokenize = TextTokenizer(directory / "tokenizer.json", settings["max_length"])
        self._encode = PackedEncoder(directory)
        self._cache = TextCache(settings["cached_texts"])
        self._count = count

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return the vectors of each request, or why there are none."""
        return read_and_answer(_read, self._encode_all, requests)

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
        TEXT_VECTOR.name: np.stack([text.vector for text in texts]),
        TEXT_TRUNCATED.name: np.array([[text.truncated] for text in texts], np.int32),
    }


def _read(request: Request) -> list[str]:
    NO_OPTIONS.read(request.parameters)
    return texts(request.tensors, TEXT.name)
