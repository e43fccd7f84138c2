"""Reads what a service sends (ids, texts, actions, times, profile) as slots and texts to encode."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Indices, Seconds
from .batch import Request, Tensors
from .contract import (
    CANDIDATE,
    CANDIDATE_ROW,
    CANDIDATE_TEXT,
    EXCLUDE,
    HISTORY,
    HISTORY_ACTION,
    HISTORY_ROW,
    HISTORY_TEXT,
    HISTORY_TIME,
    LIKE,
    LIKE_TEXT,
    LONGEST_VALUE,
    ON_UNKNOWN,
    PROFILE,
    QUERY,
    OptionSpec,
    TensorSpec,
)
from .errors import InvalidRequest
from .identifiers import Identifiers
from .options import NO_POLICY, Options, OptionsReader, RepositoryPolicy
from .profile import ProfileColumn, ProfileReader
from .tensors import (
    check_length,
    check_texts,
    check_unit,
    decode,
    row_numbers,
    seconds,
    show,
    strings,
)
from .users import NO_AGE, NO_ITEM, History, ages


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """The limits of a request.

    ``max_rows`` is the most texts that one request may have encoded. ``max_history`` is the number
    of events that the network reads. ``actions[i]`` gets action id ``i + 1``; 0 is any other.
    ``max_top_k`` is the number of items that may be asked for. ``profile`` has the columns of a
    user's profile, each a `ProfileColumn` as JSON.
    """

    max_rows: int
    max_history: int
    actions: list[str]
    max_top_k: int
    profile: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if min(self.max_rows, self.max_history, self.max_top_k) < 1:
            raise ValueError("max_rows, max_history and max_top_k must be at least 1")


@dataclass(frozen=True, slots=True)
class UserRequest:
    """A request of ``rank`` or ``recommend`` that was found in order.

    Attributes
    ----------
    options
        The value of each.
    texts
        The distinct texts that must be encoded; slot ``-(r + 1)`` names ``texts[r]``.
    history
        The events that the network reads, of known items and of texts.
    places
        INT32 [H], where these are in HISTORY.
    events
        How many there are in the whole history.
    skipped
        How many of them were left out as unknown.
    seen
        INT32 [S], the catalogue's items of the whole history; one may be there twice.
    excluded
        INT32 [E], items that must not be recommended.
    candidates
        Slots INT32 [N] to rank.
    profile
        INT32 [P], ids of the user's profile.
    id
        The id of the request; empty for none.
    anchor
        Slot of the item, or of the words, that what is recommended is like; `NO_ITEM` for none.
    """

    options: Options
    texts: Sequence[str]
    history: History
    places: Indices
    events: int
    skipped: int
    seen: Indices
    excluded: Indices
    candidates: Indices
    profile: Indices
    id: str = ""
    anchor: int = NO_ITEM

    @property
    def anchored_to_text(self) -> bool:
        """Whether what is recommended is like a text, so that nothing can be told without it."""
        return self.anchor < 0 and self.anchor != NO_ITEM

    def without_texts(self) -> UserRequest:
        """The same, as if no text had come with it."""
        history, known = self.history, self.history.slots >= 0
        return replace(
            self,
            texts=(),
            history=History(history.slots[known], history.actions[known], history.ages[known]),
            places=self.places[known],
            skipped=self.skipped + int((~known).sum()),
            candidates=np.where(self.candidates < 0, NO_ITEM, self.candidates).astype(np.int32),
        )


class RequestReader:
    """Reads requests.

    An id that the catalogue knows becomes its index, whatever text came with it. One that it does
    not know becomes the row of its text, where it has one; a text that occurs twice in a request
    has one row. Without a text, an event of the history is dropped and counted in SKIPPED, and a
    candidate is refused, or left without a score when ``on_unknown`` is "skip".
    """

    def __init__(
        self, settings: ReaderSettings, ids: Identifiers, policy: RepositoryPolicy = NO_POLICY
    ) -> None:
        self._settings = settings
        self._ids = ids
        self._options = OptionsReader(settings.max_top_k, len(ids), policy)
        self._actions = {
            action.encode(): number for number, action in enumerate(settings.actions, 1)
        }
        self._profile = ProfileReader([ProfileColumn.from_dict(each) for each in settings.profile])

    def read(self, request: Request) -> UserRequest:
        """Return the slots and texts of a request.

        Raises
        ------
        InvalidRequest
            It cannot be answered as sent.
        """
        options, tensors = self._options.read(request.parameters), request.tensors
        ids = strings(tensors, HISTORY.name)
        if ids is None:
            raise InvalidRequest(
                f"{HISTORY.name} is missing; send it with shape [1, 0] for a new user"
            )
        rows = _TextRows()
        known = self._ids.indices(ids)
        texts = _column(tensors, HISTORY_TEXT, HISTORY, len(ids))
        usable = [
            place for place, index in enumerate(known) if index is not None or texts[place].strip()
        ]
        kept = usable[-self._settings.max_history :]
        slots = [
            rows.slot(texts[place], HISTORY_TEXT.name, place)
            if (index := known[place]) is None
            else index
            for place in kept
        ]
        history = self._history(tensors, HISTORY, len(ids), slots, kept)
        excluded = self._ids.indices(strings(tensors, EXCLUDE.name) or ())
        candidates = strings(tensors, CANDIDATE.name)
        found = UserRequest(
            options,
            rows.texts,
            history,
            np.array(kept, np.int32),
            len(ids),
            len(ids) - len(usable),
            _indices(known),
            _indices(excluded),
            self._candidates(tensors, candidates or (), rows, options),
            self._profile.ids(_profile(tensors)),
            request.id,
            self._anchor(options, rows),
        )
        check_texts(len(found.texts), self._settings.max_rows)
        return found

    def read_rows(self, request: Request, rows: int) -> UserRequest:
        """The same of a request whose texts are ``rows`` of a tensor: HISTORY_ROW and so on."""
        options, tensors = self._options.read(request.parameters), request.tensors
        history = -1 - row_numbers(tensors, HISTORY_ROW.name, rows)
        kept = list(range(len(history)))[-self._settings.max_history :]
        return UserRequest(
            options,
            (),
            self._history(tensors, HISTORY_TEXT, len(history), history[kept].tolist(), kept),
            np.array(kept, np.int32),
            len(history),
            0,
            _indices(()),
            _indices(()),
            -1 - row_numbers(tensors, CANDIDATE_ROW.name, rows),
            self._profile.ids(_profile(tensors)),
        )

    def _history(
        self,
        tensors: Tensors,
        beside: TensorSpec,
        length: int,
        slots: Sequence[int],
        kept: Sequence[int],
    ) -> History:
        """The events ``kept``, places in the tensor ``beside``, whose slots are given."""
        actions = _column(tensors, HISTORY_ACTION, beside, length)
        times = seconds(tensors, HISTORY_TIME.name)
        if times is None:
            since: Seconds = np.full(len(kept), NO_AGE, np.int64)
        else:
            check_length(HISTORY_TIME.name, len(times), beside.name, length)
            _check_order(times)
            check_unit(HISTORY_TIME.name, times)
            since = ages(times[kept])
        numbered = [self._actions.get(actions[place], 0) for place in kept]
        return History(np.array(slots, np.int32), np.array(numbered, np.int32), since)

    def _anchor(self, options: Options, rows: _TextRows) -> int:
        if not (options[LIKE.name] or options[LIKE_TEXT.name] or options[QUERY.name]):
            return NO_ITEM
        like, text, query = (_words(options, each) for each in (LIKE, LIKE_TEXT, QUERY))
        if query.strip():
            if like or text.strip():
                raise InvalidRequest(
                    f"parameters {QUERY.name} and {(LIKE if like else LIKE_TEXT).name} are both "
                    "given, and a list is like one of them; send one"
                )
            return rows.slot(query, QUERY.name, 0)
        (known,) = self._ids.indices([like])
        if like and known is not None:
            return known
        if text.strip():
            return rows.slot(text, LIKE_TEXT.name, 0)
        if like:
            raise InvalidRequest(
                f"parameter {LIKE.name} is {show(like)}, which is not in the catalogue; send its "
                f"text as the parameter {LIKE_TEXT.name}"
            )
        return NO_ITEM

    def _candidates(
        self, tensors: Tensors, candidates: Sequence[bytes], rows: _TextRows, options: Options
    ) -> Indices:
        texts = _column(tensors, CANDIDATE_TEXT, CANDIDATE, len(candidates))
        slots = [NO_ITEM if each is None else each for each in self._ids.indices(candidates)]
        unknown = []
        for place, slot in enumerate(slots):
            if slot == NO_ITEM:
                if texts[place].strip():
                    slots[place] = rows.slot(texts[place], CANDIDATE_TEXT.name, place)
                else:
                    unknown.append(place)
        if unknown and options[ON_UNKNOWN.name] == "error":
            first, more = unknown[0], len(unknown) - 1
            raise InvalidRequest(
                f"{CANDIDATE.name}[{first}] {show(candidates[first])}"
                f"{f' (and {more} more)' if more else ''} is not in the catalogue and has no "
                f"text; send its text in {CANDIDATE_TEXT.name}, or set the parameter "
                f"{ON_UNKNOWN.name} to 'skip' to get NaN for it"
            )
        return np.array(slots, np.int32)


class _TextRows:
    """Numbers the distinct texts of one request, in the order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._slots: dict[bytes, int] = {}

    def slot(self, text: bytes, name: str, place: int) -> int:
        slot = self._slots.get(text)
        if slot is None:
            self.texts.append(decode(text, name, place))
            slot = self._slots[text] = -len(self.texts)
        return slot


def _column(tensors: Tensors, spec: TensorSpec, beside: TensorSpec, length: int) -> list[bytes]:
    values = strings(tensors, spec.name)
    if values is None:
        return [b""] * length
    check_length(spec.name, len(values), beside.name, length)
    return values


def _words(options: Options, option: OptionSpec) -> bytes:
    # Half of a surrogate pair can be written in JSON; it is refused where the text is decoded.
    found: bytes = options[option.name].encode("utf-8", "surrogatepass")
    if len(found) > LONGEST_VALUE:
        raise InvalidRequest(
            f"parameter {option.name} has {len(found):,} bytes, and at most {LONGEST_VALUE:,} are "
            "read; send fewer"
        )
    return found


def _profile(tensors: Tensors) -> Mapping[str, object]:
    values = strings(tensors, PROFILE.name)
    if values is None:
        return {}
    check_length(PROFILE.name, len(values), "a request", 1)
    if not values[0]:
        return {}
    text = decode(values[0], PROFILE.name, 0)
    try:
        profile = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"{PROFILE.name}[0] {show(values[0])} is no JSON ({error}); "
            'send an object of columns and values, such as {"age": 24}'
        ) from error
    if not isinstance(profile, dict):
        raise InvalidRequest(
            f"{PROFILE.name}[0] {show(values[0])} is no JSON object; "
            'send one of columns and values, such as {"age": 24}'
        )
    return profile


def _check_order(times: NDArray[np.int64]) -> None:
    earlier = np.flatnonzero(times[1:] < times[:-1])
    if earlier.size:
        place = int(earlier[0]) + 1
        name = HISTORY_TIME.name
        raise InvalidRequest(
            f"{name}[{place}] is {times[place]}, before {name}[{place - 1}], "
            f"{times[place - 1]}; send the history oldest first"
        )


def _indices(found: Sequence[int | None]) -> Indices:
    return np.array([index for index in found if index is not None], np.int32)
