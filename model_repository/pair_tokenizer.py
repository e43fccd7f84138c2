"""Turns the texts and text pairs of a ``classify`` request into what the classifier takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from .batch import Outcome, Request, Tensors, attempt
from .errors import InvalidRequest
from .text_tokenizer import TextTokenizer, TokenRow
from .wire import check_length, texts


@dataclass(frozen=True, slots=True)
class PairTokenizerSettings:
    """The ``settings.json`` of ``pair_tokenizer``.

    ``length_buckets`` are the lengths in tokens, ascending, that rows are padded to; the last is
    where they are cut. ``token_types`` says whether the classifier tells the two texts of a pair
    apart by TOKEN_TYPE_IDS.
    """

    length_buckets: list[int]
    pad_id: int
    token_types: bool

    def __post_init__(self) -> None:
        if not self.length_buckets or sorted(set(self.length_buckets)) != self.length_buckets:
            raise ValueError(f"length_buckets must ascend, not {self.length_buckets}")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request that was found in order; an empty second text is none."""

    texts: Sequence[str]
    pairs: Sequence[str]


class PairTokenizer:
    """Tokenizes a batch of requests, each TEXT and, if it has them, TEXT_PAIR.

    Parameters
    ----------
    directory
        Holds ``tokenizer.json`` (of the ``tokenizers`` library; its template joins the pairs) and
        ``settings.json`` (``PairTokenizerSettings``).
    """

    def __init__(self, directory: Path) -> None:
        self._settings = PairTokenizerSettings(
            **json.loads((directory / "settings.json").read_text("utf-8"))
        )
        self._tokenize = TextTokenizer(
            directory / "tokenizer.json", self._settings.length_buckets[-1]
        )

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return INPUT_IDS, TOKEN_TYPE_IDS and TRUNCATED of each request, or its refusal."""
        plans = [attempt(_plan, request) for request in requests]
        sound = [plan for plan in plans if isinstance(plan, _Plan)]
        rows = iter(
            self._tokenize(
                [text for plan in sound for text in plan.texts],
                [pair for plan in sound for pair in plan.pairs],
            )
        )
        return [
            plan
            if isinstance(plan, Exception)
            else self._finish(list(islice(rows, len(plan.texts))))
            for plan in plans
        ]

    def _finish(self, rows: Sequence[TokenRow]) -> Tensors:
        longest = max((len(row.tokens) for row in rows), default=0)
        length = next(bucket for bucket in self._settings.length_buckets if bucket >= longest)
        tokens = np.full((len(rows), length), self._settings.pad_id, np.int32)
        types = np.zeros_like(tokens)
        for place, row in enumerate(rows):
            tokens[place, : len(row.tokens)] = row.tokens
            types[place, : len(row.types)] = row.types
        return {
            "INPUT_IDS": tokens,
            "TRUNCATED": np.array([[row.truncated] for row in rows], np.int32),
        } | ({"TOKEN_TYPE_IDS": types} if self._settings.token_types else {})


def _plan(request: Request) -> _Plan:
    if request.parameters:
        raise InvalidRequest(
            f"there is no option {next(iter(request.parameters))!r:.80}; classify has none"
        )
    firsts = texts(request.tensors, "TEXT")
    if "TEXT_PAIR" not in request.tensors:
        return _Plan(firsts, [""] * len(firsts))
    seconds = texts(request.tensors, "TEXT_PAIR")
    check_length("TEXT_PAIR", len(seconds), "TEXT", len(firsts))
    return _Plan(firsts, seconds)
