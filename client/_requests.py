"""Builds the request of each call. Pure: no network, no clock."""

from __future__ import annotations

from collections.abc import Sequence

from client import _contract as contract
from client._inputs import HistoryColumns, ItemColumns, OnUnknown
from client._protocol import InferRequest, Tensor, infer_request
from client._tensors import integers, strings


def build_rank_request(
    history: HistoryColumns, candidates: ItemColumns, on_unknown: OnUnknown
) -> InferRequest:
    """Ask for the interest in each candidate; see ``RANK`` in the contract."""
    tensors = _history_tensors(history)
    tensors.append(strings(contract.CANDIDATE, candidates.ids, "candidates"))
    if candidates.texts is not None:
        tensors.append(strings(contract.CANDIDATE_TEXT, candidates.texts, "candidates"))
    return infer_request(contract.RANK.model.name, tensors, {contract.ON_UNKNOWN: on_unknown})


def build_recommend_request(
    history: HistoryColumns, top_k: int, exclude: ItemColumns, *, include_seen: bool
) -> InferRequest:
    """Ask for the best items of the catalogue; see ``RECOMMEND`` in the contract."""
    tensors = _history_tensors(history)
    if exclude.ids:
        tensors.append(strings(contract.EXCLUDE, exclude.ids, "exclude"))
    return infer_request(
        contract.RECOMMEND.model.name,
        tensors,
        {contract.TOP_K: top_k, contract.INCLUDE_SEEN: include_seen},
    )


def build_encode_request(texts: Sequence[str]) -> InferRequest:
    """Ask for one vector a text; see ``ENCODE`` in the contract."""
    return infer_request(contract.ENCODE.model.name, [strings(contract.TEXT, texts, "texts")], {})


def _history_tensors(history: HistoryColumns) -> list[Tensor]:
    tensors = [strings(contract.HISTORY, history.items.ids, "history")]
    if history.items.texts is not None:
        tensors.append(strings(contract.HISTORY_TEXT, history.items.texts, "history"))
    if history.actions is not None:
        tensors.append(strings(contract.HISTORY_ACTION, history.actions, "history"))
    if history.times is not None:
        tensors.append(integers(contract.HISTORY_TIME, history.times))
    return tensors
