"""The numbers of one export: what the contract's axes become, and the limits of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from builder.options import check, option
from builder.repository import DynamicBatching, QueuePolicy
from model_repository.core.contract import (
    EVENT_ACTION,
    INPUT_IDS,
    TOKEN_TYPE_IDS,
    ModelSpec,
)

if TYPE_CHECKING:
    from builder.classifier.checkpoint import Classifier
    from builder.model.recommender import Recommender

_TOKENS: Final = (8, 16, 32, 64, 128, 256, 512)
_EVENTS: Final = (8, 32, 128)
"""Lengths that histories are padded to where engines are models of their own: few, so that
requests meet in a batch, and near enough for little to be padded."""


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, and how requests are worked on together."""

    max_top_k: int = option(500, "Most items that one request may ask for.", at_least=1)
    max_rows: int = option(
        128, "Largest batch of texts, and most unknown texts in a request.", at_least=1
    )
    max_users: int = option(64, "Largest batch of users.", at_least=1)
    cached_texts: int = option(
        10_000,
        "embedded, fused: number of texts whose vectors are cached, about 2 KB each; 0: none.",
        at_least=0,
    )
    instances: int = option(
        1,
        "Instances of each model. More instances use more cores at a time and share the "
        "memory of the catalogue.",
        at_least=1,
    )
    queue_delay: int = option(
        0,
        "Longest time that a request waits for others to form a batch.",
        metavar="MICROSECONDS",
        at_least=0,
    )

    max_wait: int = option(
        500,
        "Longest time that a request waits while rank, recommend, observe or the fused encode has "
        "more to do than it can; the others are refused at once. 0: no limit.",
        metavar="MILLISECONDS",
        at_least=0,
    )

    def __post_init__(self) -> None:
        check(self, "limits")


@dataclass(frozen=True)
class Layout:
    """Sizes and limits of a version.

    Attributes
    ----------
    sizes
        Length of the axes that the checkpoint fixes, by their name in the contract.
    limits
        What a request may ask for; ``max_top_k`` is at most the catalogue's size.
    token_lengths
        Lengths in tokens that texts are padded to, ascending.
    event_lengths
        Lengths in events that histories are padded to, ascending; empty for a classifier.
    largest
        The largest value of inputs that number the rows of a table, by the input's name.
    """

    sizes: Mapping[str, int]
    limits: Limits
    token_lengths: tuple[int, ...]
    event_lengths: tuple[int, ...] = ()
    largest: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_recommender(cls, model: Recommender, limits: Limits) -> Layout:
        config = model.adapter.config
        items = len(model.catalogue)
        return cls(
            {"h": config.text_width, "d": config.width},
            replace(limits, max_top_k=min(limits.max_top_k, items)),
            _up_to(_TOKENS, model.tokenizer.max_length),
            _up_to(_EVENTS, config.max_history),
            {
                INPUT_IDS.name: _rows(model.encoder.backbone) - 1,
                EVENT_ACTION.name: config.actions,
            },
        )

    @classmethod
    def of_classifier(cls, found: Classifier, limits: Limits) -> Layout:
        network: Any = found.model
        largest = {INPUT_IDS.name: _rows(network) - 1}
        if found.token_types:
            largest[TOKEN_TYPE_IDS.name] = network.config.type_vocab_size - 1
        return cls(
            {"labels": len(found.labels)},
            limits,
            _up_to(_TOKENS, found.max_length),
            largest=largest,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Layout:
        """What a manifest has of it."""
        lengths = {name: tuple(values[name]) for name in ("token_lengths", "event_lengths")}
        # Earlier versions have no "largest".
        return cls(
            values["sizes"],
            Limits(**values["limits"]),
            **lengths,
            largest=values.get("largest", {}),
        )

    @property
    def max_history(self) -> int:
        """Events that the network reads."""
        return self.event_lengths[-1]

    def most(self, spec: ModelSpec) -> int:
        """Rows of the largest batch of a model; 0 for one that takes no batches."""
        if not spec.batched:
            return 0
        return self.limits.max_users if has_axis(spec, "U") else self.limits.max_rows

    def batching(
        self,
        *,
        ragged: bool = False,
        preferred: tuple[int, ...] = (),
        queue: QueuePolicy | None = None,
    ) -> DynamicBatching:
        """How Triton merges requests; see `DynamicBatching`."""
        return DynamicBatching(self.limits.queue_delay, preferred, ragged, queue)

    def lengths(self, spec: ModelSpec) -> Sequence[int]:
        """The lengths of a network's rows, in tokens or events."""
        return self.event_lengths if has_axis(spec, "H") else self.token_lengths


def has_axis(spec: ModelSpec, axis: str) -> bool:
    """Whether an input of the model has that axis."""
    return any(axis in tensor.dims for tensor in spec.inputs)


def _rows(model: Any) -> int:
    """Tokens that a network of Hugging Face's has embeddings of."""
    return int(model.get_input_embeddings().num_embeddings)


def _up_to(lengths: Sequence[int], longest: int) -> tuple[int, ...]:
    return (*(each for each in lengths if each < longest), longest)
