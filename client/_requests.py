"""Builds the tensors and the request of each call. Pure: no network, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from client._decoding import InferResponse
from client._encoding import Parameter, Tensor
from client._inputs import EventColumns, HistoryColumns, ItemColumns
from client._protocol import Message, infer_message
from client._tensors import empty_strings, integers, strings
from model_repository.core import contract
from model_repository.core.contract import TensorSpec


@dataclass(frozen=True, slots=True)
class StableInputs:
    """Which optional inputs one client sends.

    Triton's batcher merges only requests that hold the same inputs. So an input that was needed
    once goes along ever after, empty where a request has nothing to say: the requests of a service
    soon are all alike, without inputs that it never uses.
    """

    sent: set[str] = field(default_factory=set)

    def add(
        self,
        tensors: list[Tensor],
        spec: TensorSpec,
        values: Sequence[str] | None,
        argument: str,
        count: int,
    ) -> None:
        """Append the tensor, of ``values`` or of ``count`` empty strings, if it is to be sent."""
        if values is not None:
            self.sent.add(spec.name)
            tensors.append(strings(spec, values, argument))
        elif spec.name in self.sent:
            tensors.append(empty_strings(spec, count))


def user_tensors(
    history: HistoryColumns, profile: str | None, stable: StableInputs
) -> list[Tensor]:
    count = len(history.items.ids)
    tensors = [Tensor(contract.HISTORY, (1, count), history.items.framed)]
    stable.add(tensors, contract.HISTORY_TEXT, history.items.texts, "history", count)
    stable.add(tensors, contract.HISTORY_ACTION, history.actions, "history", count)
    # There is no number that stands for "not known".
    if history.times is not None:
        tensors.append(integers(contract.HISTORY_TIME, history.times))
    stable.add(tensors, contract.PROFILE, None if profile is None else [profile], "profile", 1)
    return tensors


def rank_message(
    user: Sequence[Tensor],
    candidates: ItemColumns,
    options: Mapping[str, Parameter],
    stable: StableInputs,
) -> Message[InferResponse]:
    """Ask for the interest in each candidate; see ``RANK`` in the contract."""
    count = len(candidates.ids)
    tensors = [*user, Tensor(contract.CANDIDATE, (1, count), candidates.framed)]
    stable.add(tensors, contract.CANDIDATE_TEXT, candidates.texts, "candidates", count)
    return infer_message(contract.RANK.name, tensors, options)


def recommend_message(
    user: Sequence[Tensor],
    exclude: ItemColumns,
    options: Mapping[str, Parameter],
    stable: StableInputs,
) -> Message[InferResponse]:
    """Ask for the best items of the catalogue; see ``RECOMMEND`` in the contract."""
    tensors = list(user)
    if exclude.ids or contract.EXCLUDE.name in stable.sent:
        stable.sent.add(contract.EXCLUDE.name)
        tensors.append(Tensor(contract.EXCLUDE, (1, len(exclude.ids)), exclude.framed))
    return infer_message(contract.RECOMMEND.name, tensors, options)


def observe_message(events: EventColumns, stable: StableInputs) -> Message[InferResponse]:
    """Tell of events as they happen; see ``OBSERVE`` in the contract."""
    tensors = [
        strings(contract.OBSERVED_ITEM, events.items, "events"),
        integers(contract.OBSERVED_TIME, events.times),
        strings(contract.EVENT_ID, events.ids, "events"),
    ]
    stable.add(tensors, contract.OBSERVED_ACTION, events.actions, "events", len(events.items))
    return infer_message(contract.OBSERVE.name, tensors, {})


def encode_message(texts: Sequence[str]) -> Message[InferResponse]:
    """Ask for one vector a text; see ``ENCODE`` in the contract."""
    return infer_message(contract.ENCODE.name, [strings(contract.TEXT, texts, "texts")], {})


def classify_message(
    texts: Sequence[str], pairs: Sequence[str] | None, stable: StableInputs
) -> Message[InferResponse]:
    """Ask for the probability of each label; see ``CLASSIFY`` in the contract."""
    tensors = [strings(contract.TEXT, texts, "texts")]
    stable.add(tensors, contract.TEXT_PAIR, pairs, "pairs", len(texts))
    return infer_message(contract.CLASSIFY.name, tensors, {})
