"""Reads the response of each call. Pure: no network, no clock.

Every function raises :class:`MalformedResponse` for an answer that breaks the contract.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from client._configuration import Labels
from client._decoding import InferResponse
from client._tensors import Outputs
from client.errors import MalformedResponse
from client.results import (
    Classification,
    Encoding,
    Observed,
    PropensityKind,
    Ranking,
    Reason,
    ReasonEvent,
    ReasonWord,
    Recommendations,
    Trace,
)
from model_repository.core import contract
from model_repository.core.contract import ModelSpec, TensorSpec

_KINDS: Final[tuple[PropensityKind, ...]] = get_args(PropensityKind)


@dataclass(slots=True, eq=False)
class LabelScores:
    """The answer of ``classify``, as yet without names, and which version of the model gave it."""

    probabilities: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    version: str


def parse_rank_response(
    response: InferResponse, candidates: Sequence[str], history: Sequence[str] = ()
) -> Ranking:
    """Read the answer for ``candidates``, the ids in the order sent.

    ``history`` are the ids of the request's.
    """
    outputs = Outputs(contract.RANK, response, N=len(candidates))
    return Ranking(
        items=tuple(candidates),
        interests=outputs.row(contract.INTEREST),
        logits=outputs.row(contract.LOGIT),
        skipped=outputs.count(contract.SKIPPED),
        truncated=outputs.count(contract.TRUNCATED),
        trend_time=_trend_time(outputs),
        reasons=_reasons(outputs, contract.RANK, contract.CANDIDATE_REASON, history),
    )


def parse_recommend_response(
    response: InferResponse, top_k: int, history: Sequence[str] = ()
) -> Recommendations:
    """Read the answer to a request for ``top_k`` items, which may hold fewer but not more.

    ``history`` are the ids of the request's.
    """
    outputs = Outputs(contract.RECOMMEND, response)
    items = outputs.texts(contract.ITEM)
    if len(items) > top_k:
        problem = f"{len(items)} items came back, {top_k} were asked for"
        raise MalformedResponse(
            f"{contract.RECOMMEND.name}: {problem}; is {contract.TOP_K.name!r} read by the "
            "server's models?",
            details=problem,
        )
    return Recommendations(
        items=tuple(items),
        interests=outputs.row(contract.ITEM_INTEREST),
        logits=outputs.row(contract.ITEM_LOGIT),
        skipped=outputs.count(contract.SKIPPED),
        truncated=outputs.count(contract.TRUNCATED),
        fallback=contract.FALLBACK.name in outputs and outputs.count(contract.FALLBACK) > 0,
        trend_time=_trend_time(outputs),
        cursor=(_text(outputs, contract.CURSOR) or None),
        trace=_trace(outputs),
        propensities=outputs.row(contract.PROPENSITY)
        if contract.PROPENSITY.name in outputs
        else None,
        propensity_kind=_propensity_kind(outputs),
        reasons=_reasons(outputs, contract.RECOMMEND, contract.REASON, history),
        similarities=outputs.row(contract.SIMILARITY)
        if contract.SIMILARITY.name in outputs
        else None,
    )


def _text(outputs: Outputs, spec: TensorSpec) -> str:
    """The only text of an optional output, "" where it is not there."""
    return outputs.texts(spec)[0] if spec.name in outputs else ""


def _trace(outputs: Outputs) -> Trace | None:
    text = _text(outputs, contract.TRACE)
    if not text:
        return None
    try:
        found = json.loads(text)
        return Trace(found["items"], found["removed"], found["unmet"])
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{contract.TRACE.name} cannot be read: {error}"
        raise MalformedResponse(f"{contract.RECOMMEND.name}: {problem}", details=problem) from error


def _reasons(
    outputs: Outputs, model: ModelSpec, spec: TensorSpec, history: Sequence[str]
) -> tuple[Reason, ...] | None:
    if spec.name not in outputs:
        return None
    written = outputs.texts(spec)
    try:
        return tuple(_reason(json.loads(each), history) for each in written)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        problem = f"{spec.name} cannot be read ({type(error).__name__}: {error})"
        raise MalformedResponse(
            f"{model.name}: {problem}; export the model repository and install the "
            "client from the same version",
            details=problem,
        ) from error


def _reason(found: dict[str, Any], history: Sequence[str]) -> Reason:
    return Reason(
        tuple(
            ReasonEvent(
                each["place"], _at(history, each["place"]), float(each["effect"]), _words(each)
            )
            for each in found.get("events", ())
        ),
        {str(name): float(part) for name, part in found.get("terms", {}).items()},
        tuple(map(str, found.get("neighbours", ()))),
        tuple(map(str, found.get("rules", ()))),
        bool(found.get("fallback", False)),
        _words(found),
    )


def _words(found: dict[str, Any]) -> tuple[ReasonWord, ...]:
    return tuple(
        ReasonWord(str(each["word"]), float(each["effect"])) for each in found.get("words", ())
    )


def _at(history: Sequence[str], place: int) -> str:
    if place < 0:  # Python would count from the end
        raise IndexError(f"event {place}")
    return history[place]


def parse_observe_response(response: InferResponse) -> Observed:
    """Read what became of events."""
    outputs = Outputs(contract.OBSERVE, response)
    return Observed(
        accepted=outputs.count(contract.ACCEPTED),
        unknown=outputs.count(contract.UNKNOWN),
        repeated=outputs.count(contract.REPEATED),
    )


def _trend_time(outputs: Outputs) -> int | None:
    return outputs.count(contract.TREND_TIME) if contract.TREND_TIME.name in outputs else None


def _propensity_kind(outputs: Outputs) -> PropensityKind | None:
    if contract.PROPENSITY_KIND.name not in outputs:
        return None
    (sent,) = outputs.texts(contract.PROPENSITY_KIND)
    for kind in _KINDS:
        if sent == kind:
            return kind
    problem = f"{contract.PROPENSITY_KIND.name} is {sent!r}, one of {', '.join(_KINDS)} is due"
    raise MalformedResponse(
        f"{contract.RECOMMEND.name}: {problem}; install the client from the version of the server",
        details=problem,
    )


def parse_encode_response(response: InferResponse, texts: int) -> Encoding:
    """Read the vectors of that many texts."""
    outputs = Outputs(contract.ENCODE, response, B=texts)
    return Encoding(
        vectors=outputs.floats(contract.TEXT_VECTOR),
        truncated=outputs.counts(contract.TEXT_TRUNCATED)[:, 0] > 0,
    )


def parse_classify_response(response: InferResponse, texts: int) -> LabelScores:
    """Read the probabilities of that many texts."""
    outputs = Outputs(contract.CLASSIFY, response, B=texts)
    return LabelScores(
        probabilities=outputs.floats(contract.PROBABILITY),
        truncated=outputs.counts(contract.TEXT_TRUNCATED)[:, 0] > 0,
        version=response.version,
    )


def name_labels(scores: LabelScores, labels: Labels) -> Classification:
    """Put names to the probabilities."""
    count = scores.probabilities.shape[1]
    names = labels.names or tuple(f"LABEL_{number}" for number in range(count))
    if len(names) != count:
        problem = f"there are {count} probabilities a text and {len(names)} labels"
        raise MalformedResponse(
            f"{contract.CLASSIFY.name}: {problem}; export the model repository anew",
            details=problem,
        )
    return Classification(scores.probabilities, scores.truncated, names, labels.activation)
