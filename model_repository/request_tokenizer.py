"""Turns what a service sends (ids, texts, actions, times) into what the networks take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .batch import Outcome, Request, Tensors, attempt
from .request_reader import ReaderSettings, ReadRequest, RequestReader
from .text_tokenizer import TextTokenizer, TokenRow


class RequestTokenizer:
    """Reads a batch of requests and tokenizes their texts: users and plain texts, in any mixture.

    Parameters
    ----------
    directory
        Holds ``tokenizer.json`` (of the ``tokenizers`` library), ``items.json`` (the ids of the
        catalogue, in its order) and ``settings.json``: ``ReaderSettings``, and ``length_buckets``,
        the lengths in tokens, ascending, that texts are padded to with ``pad_id``; the last is
        where they are cut.
    """

    def __init__(self, directory: Path) -> None:
        settings = json.loads((directory / "settings.json").read_text("utf-8"))
        self._pad_id: int = settings.pop("pad_id")
        self._length_buckets: list[int] = settings.pop("length_buckets")
        if not self._length_buckets or sorted(set(self._length_buckets)) != self._length_buckets:
            raise ValueError(f"length_buckets must ascend, not {self._length_buckets}")
        items: list[str] = json.loads((directory / "items.json").read_text("utf-8"))
        self._reader = RequestReader(ReaderSettings(**settings), items)
        self._tokenize = TextTokenizer(directory / "tokenizer.json", self._length_buckets[-1])
        # Triton refuses a batch of no rows, so a request without texts has one that nobody reads.
        (self._no_text,) = self._tokenize([""])

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return INPUT_IDS and the slots of each request, or why it is refused."""
        found = [attempt(self._reader.read, request) for request in requests]
        rows = iter(
            self._tokenize(
                [text for each in found if isinstance(each, ReadRequest) for text in each.texts]
            )
        )
        return [
            each
            if isinstance(each, Exception)
            else self._finish(each, list(islice(rows, len(each.texts))))
            for each in found
        ]

    def _finish(self, request: ReadRequest, rows: Sequence[TokenRow]) -> Tensors:
        truncated = np.array([[row.truncated] for row in rows], np.int32).reshape(-1, 1)
        return {
            **request.tensors,
            "INPUT_IDS": self._pad(rows or [self._no_text]),
            "TRUNCATED": truncated
            if request.per_text
            else truncated.sum(0, np.int32, keepdims=True),
        }

    def _pad(self, rows: Sequence[TokenRow]) -> NDArray[np.int32]:
        longest = max(len(row.tokens) for row in rows)
        length = next(bucket for bucket in self._length_buckets if bucket >= longest)
        padded = np.full((len(rows), length), self._pad_id, np.int32)
        for line, row in zip(padded, rows, strict=True):
            line[: len(row.tokens)] = row.tokens
        return padded
