"""Turns what a service sends (ids, texts, actions, times) into what the networks take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batch import Outcome, Request, Tensors, attempt
from .errors import InvalidRequest
from .options import Options
from .slots import NO_ITEM, gap_buckets
from .text_tokenizer import TextTokenizer, TokenRow
from .wire import check_length, decode, seconds, show, strings, texts


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """The tokenizer's ``settings.json``.

    ``max_rows`` is the most texts that one request may have encoded. ``length_buckets`` are the
    lengths in tokens, ascending, that texts are padded to; the last is where they are cut.
    ``max_history`` is the number of events that the adapter reads. ``actions[i]`` gets action id
    ``i + 1``; 0 is any other. ``max_top_k`` is the number of items that the retriever ranks.
    ``min_slots`` is 1 where the engines take no empty tensor: an empty history or exclusion becomes
    one ``NO_ITEM``, and no candidates are refused. ``max_candidates`` is the most that they rank.
    """

    max_rows: int
    length_buckets: list[int]
    pad_id: int
    max_history: int
    actions: list[str]
    max_top_k: int
    min_slots: int = 0
    max_candidates: int | None = None

    def __post_init__(self) -> None:
        if min(self.max_rows, self.max_history, self.max_top_k) < 1:
            raise ValueError("max_rows, max_history and max_top_k must be at least 1")
        if not self.length_buckets or sorted(set(self.length_buckets)) != self.length_buckets:
            raise ValueError(f"length_buckets must ascend, not {self.length_buckets}")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request that was found in order, before its texts are tokenized."""

    texts: Sequence[str]
    tensors: Tensors
    per_text: bool = False  # TRUNCATED [B, 1] tells of each text, [1, 1] counts them


class RequestTokenizer:
    """Tokenizes a batch of requests: users (HISTORY …) and plain texts (TEXT), in any mixture.

    An id that the catalogue knows becomes its index, whatever text came with it. One that it does
    not know becomes the row of its text, where it has one; a text that occurs twice in a request
    has one row. Without a text, an event of the history is dropped and counted in SKIPPED, and a
    candidate is refused, or left without a score when ``on_unknown`` is "skip".

    Parameters
    ----------
    directory
        Holds ``tokenizer.json`` (of the ``tokenizers`` library), ``items.json`` (the ids of the
        catalogue, in its order) and ``settings.json`` (``TokenizerSettings``).
    """

    def __init__(self, directory: Path) -> None:
        self._settings = TokenizerSettings(
            **json.loads((directory / "settings.json").read_text("utf-8"))
        )
        items: list[str] = json.loads((directory / "items.json").read_text("utf-8"))
        self._index = {item.encode(): index for index, item in enumerate(items)}
        self._actions = {
            action.encode(): number for number, action in enumerate(self._settings.actions, 1)
        }
        self._tokenize = TextTokenizer(
            directory / "tokenizer.json", self._settings.length_buckets[-1]
        )
        # Triton refuses a batch of no rows, so a request without texts has one that nobody reads.
        (self._no_text,) = self._tokenize([""])

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return INPUT_IDS and the slots of each request, or why it is refused."""
        plans = [attempt(self._plan, request) for request in requests]
        rows = iter(
            self._tokenize(
                [text for plan in plans if isinstance(plan, _Plan) for text in plan.texts]
            )
        )
        return [
            plan
            if isinstance(plan, Exception)
            else self._finish(plan, list(islice(rows, len(plan.texts))))
            for plan in plans
        ]

    def _plan(self, request: Request) -> _Plan:
        options = Options.from_parameters(
            request.parameters,
            max_top_k=self._settings.max_top_k,
            catalogue_size=len(self._index),
        )
        if "TEXT" in request.tensors:
            plan = _Plan(texts(request.tensors, "TEXT"), {}, per_text=True)
        else:
            plan = self._plan_user(request.tensors, options)
        if len(plan.texts) > self._settings.max_rows:
            raise InvalidRequest(
                f"the request has {len(plan.texts)} texts to encode, and at most "
                f"{self._settings.max_rows} fit in one; split it into several requests"
            )
        return plan

    def _plan_user(self, tensors: Tensors, options: Options) -> _Plan:
        rows = _TextRows()
        history = strings(tensors, "HISTORY")
        if history is None:
            raise InvalidRequest("HISTORY is missing; send it with shape [1, 0] for a new user")
        known = [self._index.get(item) for item in history]
        planned: dict[str, NDArray[Any]] = self._plan_history(tensors, known, rows)
        planned["EXCLUDE_SLOT"] = self._excluded(tensors, [] if options.include_seen else known)
        candidates = strings(tensors, "CANDIDATE")
        if candidates is not None:
            planned["CANDIDATE_SLOT"] = self._candidate_slots(tensors, candidates, rows, options)
        return _Plan(rows.texts, planned)

    def _plan_history(
        self, tensors: Tensors, known: Sequence[int | None], rows: _TextRows
    ) -> dict[str, NDArray[Any]]:
        length = len(known)
        descriptions = _column(tensors, "HISTORY_TEXT", "HISTORY", length)
        actions = _column(tensors, "HISTORY_ACTION", "HISTORY", length)
        times = seconds(tensors, "HISTORY_TIME")
        if times is not None:
            check_length("HISTORY_TIME", len(times), "HISTORY", length)
            _check_order(times)
        usable = [
            position
            for position, index in enumerate(known)
            if index is not None or descriptions[position].strip()
        ]
        kept = usable[-self._settings.max_history :]
        slots = [
            rows.slot(descriptions[position], "HISTORY_TEXT", position)
            if (index := known[position]) is None
            else index
            for position in kept
        ]
        gaps = np.zeros(len(kept), np.int32) if times is None else gap_buckets(times[kept])
        return {
            "HISTORY_SLOT": self._filled(_row(slots), NO_ITEM),
            "HISTORY_ACTION_ID": self._filled(
                _row(self._actions.get(actions[p], 0) for p in kept), 0
            ),
            "HISTORY_GAP": self._filled(gaps[np.newaxis], 0),
            "SKIPPED": _row([length - len(usable)]),
        }

    def _excluded(self, tensors: Tensors, seen: Sequence[int | None]) -> NDArray[np.int32]:
        # The whole history is left out, also the part that the adapter is too short to read.
        named = (self._index.get(item) for item in strings(tensors, "EXCLUDE") or ())
        excluded = _row(sorted({index for index in (*seen, *named) if index is not None}))
        return self._filled(excluded, NO_ITEM)

    def _filled(self, row: NDArray[np.int32], value: int) -> NDArray[np.int32]:
        """`row` [1, n] with `value` at its end, if the engines want it longer."""
        missing = max(0, self._settings.min_slots - row.shape[1])
        return np.pad(row, ((0, 0), (0, missing)), constant_values=value) if missing else row

    def _candidate_slots(
        self, tensors: Tensors, candidates: Sequence[bytes], rows: _TextRows, options: Options
    ) -> NDArray[np.int32]:
        self._check_number(len(candidates))
        descriptions = _column(tensors, "CANDIDATE_TEXT", "CANDIDATE", len(candidates))
        slots = [self._index.get(item, NO_ITEM) for item in candidates]
        unknown = []
        for position, slot in enumerate(slots):
            if slot == NO_ITEM:
                if descriptions[position].strip():
                    slots[position] = rows.slot(descriptions[position], "CANDIDATE_TEXT", position)
                else:
                    unknown.append(position)
        if unknown and options.on_unknown == "error":
            first, more = unknown[0], len(unknown) - 1
            raise InvalidRequest(
                f"CANDIDATE[{first}] {show(candidates[first])}"
                f"{f' (and {more} more)' if more else ''} is not in the catalogue and has no "
                "text; send its text in CANDIDATE_TEXT, or set the parameter on_unknown to "
                "'skip' to get NaN for it"
            )
        return _row(slots)

    def _check_number(self, candidates: int) -> None:
        most = self._settings.max_candidates
        if candidates < self._settings.min_slots:
            raise InvalidRequest("CANDIDATE is empty; send at least one item to rank")
        if most is not None and candidates > most:
            raise InvalidRequest(
                f"the request has {candidates} candidates, and the engines rank at most {most} at "
                "a time; split it into several requests, or ask for recommendations"
            )

    def _finish(self, plan: _Plan, rows: Sequence[TokenRow]) -> Tensors:
        truncated = np.array([[row.truncated] for row in rows], np.int32).reshape(-1, 1)
        return {
            **plan.tensors,
            "INPUT_IDS": self._pad(rows or [self._no_text]),
            "TRUNCATED": truncated if plan.per_text else truncated.sum(0, np.int32, keepdims=True),
        }

    def _pad(self, rows: Sequence[TokenRow]) -> NDArray[np.int32]:
        longest = max(len(row.tokens) for row in rows)
        length = next(bucket for bucket in self._settings.length_buckets if bucket >= longest)
        padded = np.full((len(rows), length), self._settings.pad_id, np.int32)
        for line, row in zip(padded, rows, strict=True):
            line[: len(row.tokens)] = row.tokens
        return padded


class _TextRows:
    """Numbers the distinct texts of one request, in the order in which they are first met."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._slots: dict[bytes, int] = {}

    def slot(self, text: bytes, name: str, position: int) -> int:
        slot = self._slots.get(text)
        if slot is None:
            self.texts.append(decode(text, name, position))
            slot = self._slots[text] = -len(self.texts)
        return slot


def _column(tensors: Tensors, name: str, beside: str, length: int) -> list[bytes]:
    values = strings(tensors, name)
    if values is None:
        return [b""] * length
    check_length(name, len(values), beside, length)
    return values


def _check_order(times: NDArray[np.int64]) -> None:
    earlier = np.flatnonzero(times[1:] < times[:-1])
    if earlier.size:
        position = int(earlier[0]) + 1
        raise InvalidRequest(
            f"HISTORY_TIME[{position}] is {times[position]}, before HISTORY_TIME[{position - 1}], "
            f"{times[position - 1]}; send the history oldest first"
        )


def _row(values: Iterable[int]) -> NDArray[np.int32]:
    return np.array([list(values)], np.int32)
