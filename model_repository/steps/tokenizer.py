"""The models ``tokenizer`` and ``pair_tokenizer``: texts → what the encoder or classifier takes.

A version holds ``tokenizer.json`` of the ``tokenizers`` library, whose template joins pairs, and
``settings.json`` with the `TokenizerSettings`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ..core.batch import Outcome, Prompt, Request, Tensors, read_and_answer
from ..core.contract import (
    CANDIDATE_ROW,
    CANDIDATE_TEXT,
    HISTORY_ROW,
    HISTORY_TEXT,
    INPUT_IDS,
    TEXT,
    TEXT_PAIR,
    TOKEN_TYPE_IDS,
    TOKENIZER,
    TRUNCATED,
    TensorSpec,
)
from ..core.errors import InvalidRequest
from ..core.length_batches import padded_lengths
from ..core.options import NO_OPTIONS, refuse_options
from ..core.tensors import check_length, check_texts, row_of_texts, texts
from ..engines.settings import read_settings
from ..engines.tokenizer import TextTokenizer, TokenRow


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """``length_buckets`` are the lengths in tokens, ascending, that rows are padded to; the last is
    where they are cut. ``max_rows`` is the most texts of a request. ``token_types`` says whether
    the network tells the two texts of a pair apart by TOKEN_TYPE_IDS.
    """  # noqa: D205

    length_buckets: list[int]
    pad_id: int
    max_rows: int
    token_types: bool = False

    def __post_init__(self) -> None:
        if not self.length_buckets or sorted(set(self.length_buckets)) != self.length_buckets:
            raise ValueError(f"length_buckets must ascend, not {self.length_buckets}")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request that was found in order: its texts, and their second texts if they are pairs.

    ``rows`` are which of the texts each event and candidate is, where it is of a user.
    """

    texts: Sequence[str]
    pairs: Sequence[str]
    rows: Tensors


def load(directory: Path, model: str) -> RequestTokenizer:
    settings = TokenizerSettings(**read_settings(directory))
    tokenizer = TextTokenizer(directory / "tokenizer.json", settings.length_buckets[-1])
    check = NO_OPTIONS.read if model == TOKENIZER.name else refuse_options
    return RequestTokenizer(settings, tokenizer, check)


class RequestTokenizer(Prompt):
    """Tokenizes a batch of requests: plain texts, pairs, and the texts of a user's events.

    ``check_options`` is given the parameters of a request, and raises `InvalidRequest`.
    """

    def __init__(
        self,
        settings: TokenizerSettings,
        tokenizer: TextTokenizer,
        check_options: Callable[[str], object] = NO_OPTIONS.read,
    ) -> None:
        self._settings = settings
        self._tokenize = tokenizer
        self._check_options = check_options

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return INPUT_IDS and the other outputs of each request, or its refusal."""
        return read_and_answer(self._plan, self._tokenize_all, requests)

    def _tokenize_all(self, plans: Sequence[_Plan]) -> list[Tensors]:
        rows = iter(
            self._tokenize(
                [text for plan in plans for text in plan.texts],
                [pair for plan in plans for pair in plan.pairs],
            )
        )
        return [self._finish(plan, list(islice(rows, len(plan.texts)))) for plan in plans]

    def _plan(self, request: Request) -> _Plan:
        self._check_options(request.parameters)
        tensors = request.tensors
        plan = _of_texts(tensors) if TEXT.name in tensors else _of_user(tensors)
        check_texts(len(plan.texts), self._settings.max_rows)
        return plan

    def _finish(self, plan: _Plan, rows: Sequence[TokenRow]) -> Tensors:
        longest = max((len(row.tokens) for row in rows), default=0)
        (length,) = padded_lengths([longest], self._settings.length_buckets)
        tokens = np.full((len(rows), length), self._settings.pad_id, np.int32)
        types = np.zeros_like(tokens)
        for place, row in enumerate(rows):
            tokens[place, : len(row.tokens)] = row.tokens
            types[place, : len(row.types)] = row.types
        truncated = np.array([[row.truncated] for row in rows], np.int32).reshape(-1, 1)
        found = {
            INPUT_IDS.name: tokens,
            # Of a user it counts the texts that were cut.
            TRUNCATED.name: truncated.sum(0, np.int32, keepdims=True) if plan.rows else truncated,
            **plan.rows,
        }
        return found | ({TOKEN_TYPE_IDS.name: types} if self._settings.token_types else {})


def _of_texts(tensors: Tensors) -> _Plan:
    firsts = texts(tensors, TEXT.name)
    if TEXT_PAIR.name not in tensors:
        return _Plan(firsts, [""] * len(firsts), {})
    seconds = texts(tensors, TEXT_PAIR.name)
    check_length(TEXT_PAIR.name, len(seconds), TEXT.name, len(firsts))
    return _Plan(firsts, seconds, {})


def _of_user(tensors: Tensors) -> _Plan:
    numbered: dict[str, int] = {}
    rows: dict[str, list[int]] = {}
    for spec, row in ((HISTORY_TEXT, HISTORY_ROW), (CANDIDATE_TEXT, CANDIDATE_ROW)):
        found = _texts_of(tensors, spec)
        rows[row.name] = [numbered.setdefault(text, len(numbered)) for text in found]
    if not rows[CANDIDATE_ROW.name]:
        raise InvalidRequest(f"{CANDIDATE_TEXT.name} is empty; send at least one item to rank")
    return _Plan(
        list(numbered),
        [""] * len(numbered),
        {name: np.array([places], np.int32).reshape(1, -1) for name, places in rows.items()},
    )


def _texts_of(tensors: Tensors, spec: TensorSpec) -> list[str]:
    found = row_of_texts(tensors, spec.name)
    if found is None:
        raise InvalidRequest(f"{spec.name} is missing, and so is {TEXT.name}; send one of them")
    for place, text in enumerate(found):
        if not text.strip():
            raise InvalidRequest(f"{spec.name}[{place}] is empty; send a text for each")
    return found
