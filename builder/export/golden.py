"""The golden requests of an export, see `builder.repository.golden`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from builder.errors import ExportError
from builder.repository.golden import GoldenOutput, GoldenRequest
from model_repository.core.batch import Request, answer
from model_repository.core.contract import (
    ACCEPTED,
    CANDIDATE,
    CANDIDATE_TEXT,
    HISTORY,
    HISTORY_TEXT,
    LOGIT,
    OBSERVE,
    OBSERVED_ITEM,
    RANK,
    RANK_TEXTS,
    RECOMMEND,
    SKIPPED,
    TEXT,
    TIME,
    TOP_K,
    TensorSpec,
)
from model_repository.core.handler import EncodedTexts, Rank, Recommend, UserHandler
from model_repository.core.options import NO_POLICY, RepositoryPolicy
from model_repository.core.requests import ReaderSettings, RequestReader
from model_repository.core.scoring import Scorer

_EVENTS: Final = 3
_CANDIDATES: Final = 5
_WORD: Final = "golden"


def of_users(
    scorer: Scorer, settings: Mapping[str, Any], policy: RepositoryPolicy = NO_POLICY
) -> list[GoldenRequest]:
    """Requests to ``rank`` and ``recommend`` of known items, with the logits that come back.

    With a policy those of ``recommend`` may be any: rules change while a model is served.
    ``settings`` are the `ReaderSettings`.
    """
    ids = scorer.catalogue.ids.strings
    # A time before the end of the log asks for the log's own counts, whatever was observed since.
    as_exported = {TIME.name: 1} if scorer.catalogue.trend else {}
    names = [ids[place].decode() for place in range(min(len(ids), _EVENTS + _CANDIDATES))]
    history, last = names[:_EVENTS], names[-_CANDIDATES:]
    reader = RequestReader(ReaderSettings(**settings), scorer.catalogue.ids)
    top_k = min(_CANDIDATES, settings["max_top_k"])
    return [
        _asked(
            RANK.name,
            Rank(reader, scorer, _no_texts),
            {HISTORY: history, CANDIDATE: last},
            as_exported,
        ),
        _asked(
            RECOMMEND.name,
            Recommend(reader, scorer, _no_texts),
            {HISTORY: history},
            {TOP_K.name: top_k, **as_exported},
        )
        if policy == NO_POLICY
        else GoldenRequest(
            RECOMMEND.name,
            {HISTORY.name: [history]},
            {SKIPPED.name: GoldenOutput((1, 1), (0.0,))},
        ),
    ]


def of_text(model: str, output: TensorSpec, width: int) -> GoldenRequest:
    """A request of one text, whose answer FP32 [1, width] may be any: texts differ by engine."""
    return GoldenRequest(model, {TEXT.name: [[_WORD]]}, {output.name: GoldenOutput((1, width))})


def of_no_events() -> GoldenRequest:
    """A request to ``observe`` that changes nothing."""
    return GoldenRequest(
        OBSERVE.name,
        {OBSERVED_ITEM.name: [[]]},
        {ACCEPTED.name: GoldenOutput((1, 1), (0.0,))},
    )


def of_texts_alone() -> GoldenRequest:
    """A request to ``rank_texts`` of a new user."""
    return GoldenRequest(
        RANK_TEXTS.name,
        {HISTORY_TEXT.name: [[]], CANDIDATE_TEXT.name: [[_WORD]]},
        {LOGIT.name: GoldenOutput((1, 1))},
    )


def _asked(
    model: str,
    handler: UserHandler,
    inputs: Mapping[TensorSpec, Sequence[str]],
    parameters: Mapping[str, int],
) -> GoldenRequest:
    tensors = {
        spec.name: np.array([[value.encode() for value in values]], np.object_)
        for spec, values in inputs.items()
    }
    (found,) = answer(handler, [Request(tensors, json.dumps(parameters))])
    if isinstance(found, Exception):
        raise ExportError(f"the golden request to {model} fails: {found}") from found
    return GoldenRequest(
        model,
        {spec.name: [list(values)] for spec, values in inputs.items()},
        {LOGIT.name: GoldenOutput.like(found[LOGIT.name], values=True)},
        parameters,
    )


def _no_texts(texts: Sequence[str]) -> EncodedTexts:
    raise AssertionError(f"golden requests bring no texts, and {len(texts)} were to be encoded")
