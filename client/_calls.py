"""Each public call as data: the requests to send, how to read the answers, how to join them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

import numpy as np

from client import _inputs
from client._configuration import FEW_CANDIDATES, Limits
from client._core import Job
from client._decoding import InferResponse
from client._encoding import Parameter
from client._inputs import HistoryColumns, ItemColumns
from client._requests import (
    StableInputs,
    classify_message,
    encode_message,
    observe_message,
    rank_message,
    recommend_message,
    user_tensors,
)
from client._responses import (
    LabelScores,
    parse_classify_response,
    parse_encode_response,
    parse_observe_response,
    parse_rank_response,
    parse_recommend_response,
)
from client.errors import InvalidInput, MalformedResponse, ModelNotFound, RecommenderError
from client.items import Event, Item, Profile
from client.results import Encoding, Observed, Ranking, Reason, Recommendations
from model_repository.core import contract

_Result = TypeVar("_Result")

Part = Job[InferResponse, _Result]

_NO_SCORES: Final = np.empty(0, np.float32)
_NO_TREND: Final = (
    "or the model does not ask what is popular, and takes no events: train it on a log with times "
    "(docs/training.md, Trend) and export it again"
)
_NO_SCORES.flags.writeable = False


@dataclass(slots=True, eq=False)
class Call(Generic[_Result]):
    """One inference, in as many requests as the server's limit asks for.

    Attributes
    ----------
    model
        The model asked, whose limits count.
    large
        Whether the limits matter; a small call is one request whatever they are.
    split
        Makes the requests that keep within the limits; none where there is nothing to ask.
    join
        Makes one result of those of any other number of requests than one, in their order.
    """

    model: str
    large: bool
    split: Callable[[Limits], Sequence[Part[_Result]]]
    join: Callable[[Sequence[_Result]], _Result]


def rank_call(
    history: Iterable[str | Item | Event],
    candidates: Iterable[str | Item],
    profile: Profile | None,
    options: Mapping[str, Parameter],
    stable: StableInputs,
) -> Call[Ranking]:
    items = _inputs.read_items(candidates, "candidates")
    past = _inputs.read_history(history)
    user = user_tensors(past, _inputs.read_profile(profile), stable)
    known_of_user = set(filter(None, past.items.texts or ()))

    def part(start: int, columns: ItemColumns) -> Part[Ranking]:
        message = rank_message(user, columns, options, stable)
        parse = partial(parse_rank_response, candidates=columns.ids, history=past.items.ids)
        return Job(
            message, parse, partial(_locate, partial(_rank_columns, past, profile, items), start)
        )

    def split(limits: Limits) -> Sequence[Part[Ranking]]:
        if not items.ids:
            return ()  # no engine needs to be asked, and some cannot be
        bounds = _cut(items.texts or [""] * len(items.ids), known_of_user, limits)
        if len(bounds) == 1:
            return [part(0, items)]
        return [part(start, items.part(start, stop)) for start, stop in bounds]

    texts = known_of_user.union(filter(None, items.texts or ()))
    large = bool(items.ids) and (len(texts) > 1 or len(items.ids) > FEW_CANDIDATES)
    join = partial(_join_rankings, texts_of_user=len(known_of_user))
    return Call(contract.RANK.name, large, split, join)


def recommend_call(
    history: Iterable[str | Item | Event],
    exclude: Iterable[str | Item],
    profile: Profile | None,
    options: Mapping[str, Parameter],
    stable: StableInputs,
) -> Call[Recommendations]:
    past = _inputs.read_history(history)
    left_out = _inputs.read_items(exclude, "exclude")
    user = user_tensors(past, _inputs.read_profile(profile), stable)
    message = recommend_message(user, left_out, options, stable)

    def columns() -> _Columns:
        return {**_user_columns(past, profile), "EXCLUDE": ("exclude[{}]", left_out.ids)}

    top_k = int(options.get(contract.TOP_K.name, contract.TOP_K.default))
    parse = partial(parse_recommend_response, top_k=top_k, history=past.items.ids)
    return _single(Job(message, parse, partial(_locate, columns, 0)))


def observe_parts(
    events: Iterable[str | Item | Event], stable: StableInputs
) -> Sequence[Part[Observed]]:
    """The requests that tell of events, of which one may hold `MOST_VALUES`."""
    told = _inputs.read_events(events)

    def columns() -> _Columns:
        return {
            "ITEM": ("events[{}]", told.items),
            "TIME": ("events[{}].time", told.times),
            "ACTION": ("events[{}].action", told.actions or ()),
            "EVENT_ID": ("events[{}].id", told.ids),
        }

    def part(start: int) -> Part[Observed]:
        message = observe_message(told.part(start, start + contract.MOST_VALUES), stable)

        def explain(error: RecommenderError) -> None:
            if isinstance(error, ModelNotFound):
                error.args = (f"{error} {_NO_TREND}",)
            _locate(columns, start, error)

        return Job(message, parse_observe_response, explain)

    return [part(start) for start in range(0, len(told.items), contract.MOST_VALUES)]


def join_observed(parts: Sequence[Observed]) -> Observed:
    return Observed(
        sum(part.accepted for part in parts),
        sum(part.unknown for part in parts),
        sum(part.repeated for part in parts),
    )


def encode_call(texts: Iterable[str]) -> Call[Encoding]:
    checked = _inputs.read_texts(texts)

    def part(start: int, stop: int) -> Part[Encoding]:
        return Job(
            encode_message(checked[start:stop]),
            partial(parse_encode_response, texts=stop - start),
            partial(_locate, lambda: {"TEXT": ("texts[{}]", checked)}, start),
        )

    return Call(
        contract.ENCODE.name,
        len(checked) > 1,
        partial(_rows, part, len(checked)),
        _join_encodings,
    )


def classify_call(
    texts: Iterable[str], pairs: Iterable[str] | None, stable: StableInputs
) -> Call[LabelScores]:
    checked = _inputs.read_texts(texts)
    seconds = _inputs.read_pairs(pairs, checked)

    def columns() -> _Columns:
        return {"TEXT": ("texts[{}]", checked), "TEXT_PAIR": ("pairs[{}]", seconds or ())}

    def part(start: int, stop: int) -> Part[LabelScores]:
        return Job(
            classify_message(
                checked[start:stop], None if seconds is None else seconds[start:stop], stable
            ),
            partial(parse_classify_response, texts=stop - start),
            partial(_locate, columns, start),
        )

    return Call(
        contract.CLASSIFY.name, len(checked) > 1, partial(_rows, part, len(checked)), _join_scores
    )


def _single(part: Part[_Result]) -> Call[_Result]:
    return Call(
        part.message.model, large=False, split=lambda _: [part], join=lambda results: results[0]
    )


def _rows(
    part: Callable[[int, int], Part[_Result]], rows: int, limits: Limits
) -> Sequence[Part[_Result]]:
    size = rows if limits.texts is None else limits.texts
    return [part(start, min(start + size, rows)) for start in range(0, rows, size)]


def _cut(texts: Sequence[str], always: set[str], limits: Limits) -> list[tuple[int, int]]:
    """Cut into the longest runs that keep within the limits, distinct texts of ``always`` included.

    A run holds at least one text of its own, since the catalogue may know what ``always`` is.
    """
    most = math.inf if limits.texts is None else max(1, limits.texts - len(always))
    longest = math.inf if limits.candidates is None else limits.candidates
    if len(texts) <= longest and (most == math.inf or not any(texts)):
        return [(0, len(texts))]
    bounds: list[tuple[int, int]] = []
    start, distinct = 0, set[str]()
    for position, text in enumerate(texts):
        new = bool(text) and text not in always and text not in distinct
        if position - start == longest or (new and len(distinct) == most):
            bounds.append((start, position))
            start, distinct = position, set()
            new = bool(text) and text not in always
        if new:
            distinct.add(text)
    return [*bounds, (start, len(texts))]


def _join_rankings(parts: Sequence[Ranking], texts_of_user: int) -> Ranking:
    if not parts:
        return Ranking((), _NO_SCORES, _NO_SCORES, skipped=0, truncated=0)
    # Every part counts the history's own texts that were cut; how many, none tells.
    of_user = min(texts_of_user, *(part.truncated for part in parts))
    return Ranking(
        items=tuple(item for part in parts for item in part.items),
        interests=_joined([part.interests for part in parts]),
        logits=_joined([part.logits for part in parts]),
        skipped=parts[0].skipped,
        truncated=of_user + sum(part.truncated - of_user for part in parts),
        trend_time=parts[0].trend_time,
        reasons=_joined_reasons(parts),
    )


def _joined_reasons(parts: Sequence[Ranking]) -> tuple[Reason, ...] | None:
    """Those of all parts; None where one has none."""
    found: list[Reason] = []
    for part in parts:
        if part.reasons is None:
            return None
        found += part.reasons
    return tuple(found)


def _join_encodings(results: Sequence[Encoding]) -> Encoding:
    return Encoding(
        _joined([part.vectors for part in results]), _joined([part.truncated for part in results])
    )


def _join_scores(results: Sequence[LabelScores]) -> LabelScores:
    versions = sorted({part.version for part in results})
    if len(versions) > 1:  # their labels may have other names, or another number
        raise MalformedResponse(
            f"{contract.CLASSIFY.name}: versions {', '.join(versions)} answered parts of one call; "
            "call again when the servers have been updated"
        )
    return LabelScores(
        _joined([part.probabilities for part in results]),
        _joined([part.truncated for part in results]),
        versions[0],
    )


_Array = TypeVar("_Array", bound="np.ndarray[tuple[int, ...], np.dtype[np.generic]]")


def _joined(arrays: Sequence[_Array]) -> _Array:
    joined = np.concatenate(arrays)
    joined.flags.writeable = False
    return joined  # type: ignore[return-value]


# An argument's entry, named as the caller named it, and the values that were sent for it.
_Columns = Mapping[str, tuple[str, Sequence[object]]]
_NAMED: Final = re.compile(r"\b([A-Z]+(?:_[A-Z]+)?)\[(\d+)\]")


def _user_columns(history: HistoryColumns, profile: Profile | None) -> _Columns:
    return {
        "HISTORY": ("history[{}]", history.items.ids),
        "HISTORY_TEXT": ("history[{}].text", history.items.texts or ()),
        "HISTORY_ACTION": ("history[{}].action", history.actions or ()),
        "HISTORY_TIME": ("history[{}].time", history.times or ()),
        "PROFILE": ("profile", [profile]),
    }


def _rank_columns(
    history: HistoryColumns, profile: Profile | None, candidates: ItemColumns
) -> _Columns:
    return {
        **_user_columns(history, profile),
        "CANDIDATE": ("candidates[{}]", candidates.ids),
        "CANDIDATE_TEXT": ("candidates[{}].text", candidates.texts or ()),
    }


def _locate(columns: Callable[[], _Columns], start: int, error: RecommenderError) -> None:
    """Tell a refusal that names an element of a tensor in the words of the caller's arguments.

    ``start`` is where the request's candidates or texts begin among those of the call.
    """
    named = _NAMED.search(error.details)
    if not isinstance(error, InvalidInput) or named is None:
        return
    field, values = columns().get(named[1], ("", ()))
    of_user = named[1].startswith(("HISTORY", "EXCLUDE", "PROFILE"))
    position = int(named[2]) + (0 if of_user else start)
    if position < len(values):
        located = InvalidInput.at(field.format(position), values[position], str(error))
        error.args, error.field, error.value = located.args, located.field, located.value
