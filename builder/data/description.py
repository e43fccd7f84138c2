"""The figures that tell whether a data set is worth training on, and how long its texts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.survey import Survey
from builder.data.tables import Catalogue, Interactions
from builder.errors import ConfigError

FEW_EVENTS: Final = 3
"""From which on a user can be held out for validation and for the test."""
_TEXTS: Final = 3
_SHOWN_OF_A_TEXT: Final = 200
PERCENTILES: Final = (0, 5, 25, 50, 75, 90, 95, 99, 100)


@dataclass(frozen=True)
class Description:
    """A data set in figures.

    Attributes
    ----------
    targets
        Events that a recommendation is to lead to; the others are context.
    density
        Distinct (user, item) pairs over all possible ones.
    first_event, last_event
        Unix seconds; None when the log has no times.
    history_length, token_length
        Percentile (``PERCENTILES``, as text) → events per user, tokens per item text including
        the special ones. ``token_length`` is None without a backbone.
    repeated_pairs
        Events whose user had the same item before.
    few_events
        Users with fewer targets than ``FEW_EVENTS``, who are in no test.
    texts
        The first of the items, cut after 200 characters.
    ratings, unused
        See `Survey`.
    """

    users: int
    items: int
    items_with_events: int
    events: int
    targets: int
    density: float
    actions: list[str]
    first_event: int | None
    last_event: int | None
    history_length: dict[str, float]
    token_length: dict[str, float] | None
    repeated_pairs: int
    few_events: int
    texts: list[str] = field(default_factory=list)
    ratings: dict[float, int] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


def describe(
    interactions: Interactions,
    catalogue: Catalogue,
    backbone: str | None = None,
    survey: Survey | None = None,
) -> Description:
    """Count events and, given a backbone, the tokens that its tokenizer makes of each text.

    Raises
    ------
    ConfigError
        The backbone's tokenizer cannot be loaded.
    """
    users, items = len(interactions.user_ids), len(catalogue)
    pairs = np.unique(interactions.user.astype(np.int64) * items + interactions.item)
    times = interactions.time
    survey = survey or Survey()
    user = interactions.user
    targets = user if interactions.target is None else user[interactions.target]
    return Description(
        users=users,
        items=items,
        items_with_events=len(np.unique(interactions.item)),
        events=len(interactions),
        targets=len(targets),
        density=len(pairs) / (users * items),
        actions=interactions.actions,
        first_event=None if times is None else int(times.min()),
        last_event=None if times is None else int(times.max()),
        history_length=_percentiles(Sequences.from_interactions(interactions).lengths),
        token_length=None
        if backbone is None
        else _percentiles(token_lengths(catalogue.texts, backbone)),
        repeated_pairs=len(interactions) - len(pairs),
        few_events=int((np.bincount(targets, minlength=users) < FEW_EVENTS).sum()),
        texts=[text[:_SHOWN_OF_A_TEXT] for text in catalogue.texts[:_TEXTS]],
        ratings=survey.ratings,
        unused=survey.unused,
    )


def token_lengths(texts: Sequence[str], backbone: str) -> NDArray[np.int64]:
    """Count the tokens of each text, the special ones included, without truncation: INT64 [n].

    ``backbone`` is a directory or a Hugging Face name.

    Raises
    ------
    ConfigError
        Its tokenizer cannot be loaded.
    """
    # Imported here: it takes seconds, and nothing else of this package needs it.
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(backbone)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"backbone {backbone!r}: its tokenizer cannot be loaded: {error}; give a directory "
            "with a Hugging Face model, or the name of one that can be downloaded"
        ) from error
    encoded = tokenizer(list(texts), truncation=False, verbose=False)
    return np.array([len(ids) for ids in encoded["input_ids"]], np.int64)


def _percentiles(values: NDArray[np.int64]) -> dict[str, float]:
    found = np.percentile(values, PERCENTILES)
    return {str(name): float(value) for name, value in zip(PERCENTILES, found, strict=True)}
