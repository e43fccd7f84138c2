"""Reads what a service sends (ids, texts, actions, times, profile) as slots and texts to encode."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batch import Request, Tensors
from .errors import InvalidRequest
from .options import Options
from .profile import ProfileColumn, ProfileReader
from .slots import NO_ITEM, gap_buckets
from .wire import check_length, decode, seconds, show, strings, texts


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """The limits of a request.

    ``max_rows`` is the most texts that one request may have encoded. ``max_history`` is the number
    of events that the adapter reads. ``actions[i]`` gets action id ``i + 1``; 0 is any other.
    ``max_top_k`` is the number of items that the retriever ranks. ``min_slots`` is 1 where the
    engines take no empty tensor: an empty history or exclusion becomes one ``NO_ITEM``, and no
    candidates are refused. ``max_candidates`` is the most that they rank. ``profile`` has the
    columns of a user's profile, each a `ProfileColumn` as JSON; without any there is no PROFILE_ID.
    """

    max_rows: int
    max_history: int
    actions: list[str]
    max_top_k: int
    min_slots: int = 0
    max_candidates: int | None = None
    profile: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if min(self.max_rows, self.max_history, self.max_top_k) < 1:
            raise ValueError("max_rows, max_history and max_top_k must be at least 1")


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request that was found in order, before its texts are encoded."""

    texts: Sequence[str]
    """The distinct texts of a user, which slots ``-(r + 1)`` name; or all that were sent."""
    tensors: Mapping[str, NDArray[Any]]
    options: Options
    per_text: bool = False
    """Whether it is of plain texts: TRUNCATED [B, 1] then tells of each, and else counts them."""


class RequestReader:
    """Reads requests, of users (HISTORY …) and of plain texts (TEXT).

    An id that the catalogue knows becomes its index, whatever text came with it. One that it does
    not know becomes the row of its text, where it has one; a text that occurs twice in a request
    has one row. Without a text, an event of the history is dropped and counted in SKIPPED, and a
    candidate is refused, or left without a score when ``on_unknown`` is "skip".

    Parameters
    ----------
    items
        The ids of the catalogue, in its order.
    """

    def __init__(self, settings: ReaderSettings, items: Sequence[str]) -> None:
        self._settings = settings
        self._index = {item.encode(): index for index, item in enumerate(items)}
        self._actions = {
            action.encode(): number for number, action in enumerate(settings.actions, 1)
        }
        self._profile = ProfileReader([ProfileColumn.from_dict(each) for each in settings.profile])

    def read(self, request: Request) -> ReadRequest:
        """Return the slots and texts of a request.

        Raises
        ------
        InvalidRequest
            It cannot be answered as sent.
        """
        options = Options.from_parameters(
            request.parameters,
            max_top_k=self._settings.max_top_k,
            catalogue_size=len(self._index),
        )
        if "TEXT" in request.tensors:
            found = ReadRequest(texts(request.tensors, "TEXT"), {}, options, per_text=True)
        else:
            found = self._read_user(request.tensors, options)
        if len(found.texts) > self._settings.max_rows:
            raise InvalidRequest(
                f"the request has {len(found.texts)} texts to encode, and at most "
                f"{self._settings.max_rows} fit in one; split it into several requests"
            )
        return found

    def _read_user(self, tensors: Tensors, options: Options) -> ReadRequest:
        rows = _TextRows()
        history = strings(tensors, "HISTORY")
        if history is None:
            raise InvalidRequest("HISTORY is missing; send it with shape [1, 0] for a new user")
        known = [self._index.get(item) for item in history]
        found = self._read_history(tensors, known, rows)
        found["EXCLUDE_SLOT"] = self._excluded(tensors, [] if options.include_seen else known)
        profile = self._profile.ids(_profile(tensors))
        if len(profile):
            found["PROFILE_ID"] = profile[np.newaxis]
        candidates = strings(tensors, "CANDIDATE")
        if candidates is not None:
            found["CANDIDATE_SLOT"] = self._candidate_slots(tensors, candidates, rows, options)
        return ReadRequest(rows.texts, found, options)

    def _read_history(
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


def _profile(tensors: Tensors) -> Mapping[str, object]:
    values = strings(tensors, "PROFILE")
    if values is None:
        return {}
    check_length("PROFILE", len(values), "a request", 1)
    if not values[0]:
        return {}
    text = decode(values[0], "PROFILE", 0)
    try:
        profile = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"PROFILE[0] {show(values[0])} is no JSON ({error}); "
            'send an object of columns and values, such as {"age": 24}'
        ) from error
    if not isinstance(profile, dict):
        raise InvalidRequest(
            f"PROFILE[0] {show(values[0])} is no JSON object; "
            'send one of columns and values, such as {"age": 24}'
        )
    return profile


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
