"""Each public call as data: the request to send and the function that reads the answer.

A shell, blocking or not, only has to carry the one to the server and the answer to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from client import _inputs
from client._inputs import OnUnknown
from client._protocol import InferRequest, InferResponse
from client._requests import build_encode_request, build_rank_request, build_recommend_request
from client._responses import (
    parse_encode_response,
    parse_rank_response,
    parse_recommend_response,
)
from client.items import Event, Item
from client.results import Encoding, Ranking, Recommendations

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Call(Generic[_Result]):
    """One inference. ``parse`` raises :class:`MalformedResponse`."""

    request: InferRequest
    parse: Callable[[InferResponse], _Result]


def rank_call(
    history: Iterable[str | Item | Event],
    candidates: Iterable[str | Item],
    on_unknown: OnUnknown,
) -> Call[Ranking]:
    items = _inputs.read_items(candidates, "candidates")
    request = build_rank_request(
        _inputs.read_history(history), items, _inputs.read_on_unknown(on_unknown)
    )
    return Call(request, partial(parse_rank_response, candidates=items.ids))


def recommend_call(
    history: Iterable[str | Item | Event],
    top_k: int,
    exclude: Iterable[str | Item],
    *,
    include_seen: bool,
) -> Call[Recommendations]:
    count = _inputs.read_top_k(top_k)
    request = build_recommend_request(
        _inputs.read_history(history),
        count,
        _inputs.read_items(exclude, "exclude"),
        include_seen=_inputs.read_flag(include_seen, "include_seen"),
    )
    return Call(request, partial(parse_recommend_response, top_k=count))


def encode_call(texts: Iterable[str]) -> Call[Encoding]:
    checked = _inputs.read_texts(texts)
    return Call(build_encode_request(checked), partial(parse_encode_response, texts=len(checked)))
