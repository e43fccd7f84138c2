"""Answers ``rank`` and ``recommend`` in one process: users come in, scored items go out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .batch import Outcome, Request, Tensors, attempt, attempt_together
from .interest import Floats, History, InterestModel, Slots
from .neighbours import NO_NEW_ITEMS, NewItems
from .policy import Candidates, choose, item_names
from .request_reader import ReaderSettings, ReadRequest, RequestReader
from .slots import NO_ITEM


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Vectors FP32 [R, h] of texts, and which of them were cut to the longest length, INT32 [R]."""

    vectors: Floats
    truncated: NDArray[np.int32]


NOTHING: Final[Slots] = np.zeros(0, np.int32)

Encode = Callable[[Sequence[str]], EncodedTexts]
"""Encodes texts that the catalogue does not know, as many as one request may have."""


@dataclass(frozen=True, slots=True)
class _User:
    """A request, with slots that name rows of the texts of the whole batch.

    ``candidates`` INT32 [N] is empty where there are none to rank.
    """

    request: ReadRequest
    history: History
    candidates: Slots
    truncated: int


class _Requests:
    """What ``rank`` and ``recommend`` have in common.

    Parameters
    ----------
    directory
        Holds what `InterestModel` reads, ``items.json`` (the ids of the catalogue, in its order)
        and in ``settings.json`` a ``reader``, the `ReaderSettings`.
    encode
        Called once for all new texts of a batch, unless they are more than fit into one request.
    """

    def __init__(self, directory: Path, encode: Encode) -> None:
        settings = json.loads((directory / "settings.json").read_text("utf-8"))
        self._limits = ReaderSettings(**settings["reader"])
        items: list[str] = json.loads((directory / "items.json").read_text("utf-8"))
        self._items = item_names(items)
        self._reader = RequestReader(self._limits, items)
        self._encode = encode
        self._model = InterestModel(directory)

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return the answer to each request, or why there is none."""
        found = [attempt(self._reader.read, request) for request in requests]
        answers = iter(
            attempt_together(
                self._answer_all, [each for each in found if isinstance(each, ReadRequest)]
            )
        )
        return [each if isinstance(each, Exception) else next(answers) for each in found]

    def _answer_all(self, requests: Sequence[ReadRequest]) -> list[Tensors]:
        rows: dict[str, int] = {}
        for request in requests:
            for text in request.texts:
                rows.setdefault(text, len(rows))
        encoded = self._encoded(list(rows))
        fresh = self._model.from_text(encoded.vectors) if rows else NO_NEW_ITEMS
        users = [_user(request, rows, encoded.truncated) for request in requests]
        profiles = (
            np.concatenate([request.tensors["PROFILE_ID"] for request in requests])
            if self._limits.profile
            else None
        )
        states = self._model.user_states([user.history for user in users], fresh, profiles)
        return [
            {
                **answer,
                "SKIPPED": user.request.tensors["SKIPPED"],
                "TRUNCATED": np.array([[user.truncated]], np.int32),
            }
            for user, answer in zip(users, self._answers(users, states, fresh), strict=True)
        ]

    def _encoded(self, texts: Sequence[str]) -> EncodedTexts:
        most = self._limits.max_rows
        parts = [self._encode(texts[at : at + most]) for at in range(0, len(texts), most)]
        if not parts:
            return EncodedTexts(np.zeros((0, 0), np.float32), np.zeros(0, np.int32))
        return EncodedTexts(
            np.concatenate([part.vectors for part in parts]),
            np.concatenate([part.truncated for part in parts]),
        )

    def _answers(self, users: Sequence[_User], states: Floats, fresh: NewItems) -> list[Tensors]:
        raise NotImplementedError


class RankRequests(_Requests):
    """INTEREST and LOGIT [1, N] of the candidates of each request."""

    def _answers(self, users: Sequence[_User], states: Floats, fresh: NewItems) -> list[Tensors]:
        scored = [
            self._model.score(state, user.history, user.candidates, fresh)
            for user, state in zip(users, states, strict=True)
        ]
        return [
            {"INTEREST": each.interest[np.newaxis], "LOGIT": each.logit[np.newaxis]}
            for each in scored
        ]


class RecommendRequests(_Requests):
    """ITEM, INTEREST and LOGIT [1, k] of the best items for each request, best first."""

    def _answers(self, users: Sequence[_User], states: Floats, fresh: NewItems) -> list[Tensors]:  # noqa: ARG002
        best = self._model.best(
            states,
            [user.history for user in users],
            [user.request.tensors["EXCLUDE_SLOT"][0] for user in users],
            [user.request.options.top_k for user in users],
        )
        return [
            choose(self._items, Candidates(index, scores.interest, scores.logit), options)
            for (index, scores), options in zip(
                best, (user.request.options for user in users), strict=True
            )
        ]


def _user(request: ReadRequest, rows: Mapping[str, int], truncated: NDArray[np.int32]) -> _User:
    """The user of a request; ``rows`` says where the texts of the batch are."""
    where = np.array([rows[text] for text in request.texts], np.int32)

    def slots(name: str) -> Slots:
        return _renumbered(request.tensors[name][0], where)

    history = History(
        slots("HISTORY_SLOT"),
        request.tensors["HISTORY_ACTION_ID"][0],
        request.tensors["HISTORY_GAP"][0],
    )
    candidates = slots("CANDIDATE_SLOT") if "CANDIDATE_SLOT" in request.tensors else NOTHING
    return _User(request, history, candidates, int(truncated[where].sum()))


def _renumbered(slots: Slots, where: NDArray[np.int32]) -> Slots:
    """Slots whose text r is row ``where[r]``."""
    if not len(where):
        return slots
    texts = (slots < 0) & (slots != NO_ITEM)
    renumbered = slots.copy()
    renumbered[texts] = -where[-slots[texts] - 1] - 1
    return renumbered
