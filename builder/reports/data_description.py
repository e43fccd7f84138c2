"""The figures that tell whether a data set is worth training on, and how its texts are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.data.config import Columns
from builder.data.layouts import Layout
from builder.data.readers import DataSet
from builder.data.repeated_events import last_targets_seen_before
from builder.data.unsorted import DISLIKED, LIKED, UnsortedEvents, count
from builder.errors import BuilderError, ConfigError
from builder.progress import Progress, silent
from builder.reports.data_survey import Survey

FEW_EVENTS: Final = 3
"""From which on a user can be held out for validation and for the test."""
TOO_FEW_EVENTS: Final = (
    f"no user has {FEW_EVENTS} events to recommend (one to learn from, one for validation, one for "
    "test), and fewer than two have 2, so training would find nothing to learn; give a longer "
    "log, or a lower --min-rating where one is given"
)
PERCENTILES: Final = (0, 5, 25, 50, 75, 90, 95, 99, 100)
_TEXTS: Final = 3
_SHOWN_OF_A_TEXT: Final = 200
_PERIODS: Final = 60
_PAIRS_AT_ONCE: Final = 1 << 24
_TEXTS_AT_ONCE: Final = 1 << 10


@dataclass(frozen=True)
class Tokens:
    """What a backbone's tokenizer makes of the item texts.

    Attributes
    ----------
    length
        Percentile → tokens per text, the special ones included.
    unknown
        Share of the tokens that stand for what the backbone does not know.
    texts_with_unknown
        How many texts have such a token.
    """

    length: dict[str, float]
    unknown: float
    texts_with_unknown: int


@dataclass(frozen=True)
class Description:
    """A data set in figures.

    Attributes
    ----------
    read
        File or role → what was taken for it.
    targets
        Events that a recommendation is to lead to; the others are context.
    density
        Distinct (user, item) pairs over all possible ones.
    first_event, last_event
        Unix seconds; None when the log has no times.
    periods
        Events in equal periods from the first to the last one; empty without times.
    history_length, item_events
        Percentile (``PERCENTILES``, as text) → events per user, and per item that has some.
    tokens
        None without a backbone.
    repeated_pairs
        Events whose user had the same item before.
    few_events
        Users with fewer targets than ``FEW_EVENTS``, who are in no test.
    trainable
        Whether leave-one-out can split the log, see `too_few_events`.
    tested, seen_before
        The other users, whose last target is the test of leave-one-out, and in how many of these
        tests the user had the item before.
    texts
        The first of the items, cut after 200 characters.
    ratings, unused
        See `Survey`.
    """

    read: dict[str, str]
    users: int
    items: int
    items_with_events: int
    events: int
    targets: int
    density: float
    actions: list[str]
    first_event: int | None
    last_event: int | None
    periods: list[int]
    history_length: dict[str, float]
    item_events: dict[str, float]
    tokens: Tokens | None
    repeated_pairs: int
    few_events: int
    trainable: bool
    tested: int
    seen_before: int
    texts: list[str] = field(default_factory=list)
    ratings: dict[float, int] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


def describe(data: DataSet, survey: Survey, tokens: Tokens | None = None) -> Description:
    """Count events. Those of ``data`` lose their times on the way, which frees memory."""
    events, catalogue = data.events, data.catalogue
    users, items = len(events.user_ids), len(catalogue)
    periods, first, last = _periods(events)
    per_item = count(events.item, items)
    targets = events.user if events.target is None else events.user[events.target]
    per_user = count(targets, users)
    enough = per_user >= FEW_EVENTS
    seen_before = int((last_targets_seen_before(events) & enough).sum())
    events.ticks = None
    pairs = sum(len(np.unique(each)) for each in _pairs(events, items))
    return Description(
        read=_read(data.layout),
        users=users,
        items=items,
        items_with_events=int(np.count_nonzero(per_item)),
        events=len(events),
        targets=len(targets),
        density=pairs / (users * items),
        actions=_actions(events),
        first_event=first,
        last_event=last,
        periods=periods,
        history_length=_percentiles(count(events.user, users)),
        item_events=_percentiles(per_item[per_item > 0]),
        tokens=tokens,
        repeated_pairs=len(events) - pairs,
        few_events=int((~enough).sum()),
        trainable=_is_trainable(per_user),
        tested=int(enough.sum()),
        seen_before=seen_before,
        texts=[text[:_SHOWN_OF_A_TEXT] for text in catalogue.texts[:_TEXTS]],
        ratings=survey.ratings,
        unused=survey.unused,
    )


def too_few_events(events: UnsortedEvents) -> str | None:
    """Why a log cannot be trained on, and what to do; None where it can."""
    targets = events.user if events.target is None else events.user[events.target]
    return None if _is_trainable(count(targets, len(events.user_ids))) else TOO_FEW_EVENTS


def _is_trainable(per_user: NDArray[np.int64]) -> bool:
    """Whether leave-one-out finds events to hold out, of targets INT64 [U] of each user."""
    return bool((per_user >= FEW_EVENTS).any() or (per_user == FEW_EVENTS - 1).sum() > 1)


def repeated_tests(description: Description) -> tuple[str, str]:
    """The tests of leave-one-out in which the user had the item before, in words."""
    found = description.seen_before, description.tested
    return "test targets that the user had before", "{:,} of {:,}".format(*found)


def count_tokens(
    texts: Sequence[str],
    load: Callable[[str, str], Any],
    backbone: str,
    progress: Progress = silent,
) -> Tokens:
    """Count the tokens of each text, without truncation.

    Parameters
    ----------
    load
        Makes the tokenizer of ``backbone``, a directory or a Hugging Face name.

    Raises
    ------
    ConfigError
        The tokenizer cannot be loaded.
    """
    try:
        tokenizer = load(backbone, f"--backbone {backbone}")
    except (BuilderError, OSError, ValueError) as error:
        raise ConfigError(
            f"--backbone {backbone!r}: its tokenizer cannot be loaded: {error}; give a directory "
            "with a Hugging Face model, or the name of one that can be downloaded"
        ) from error
    lengths: list[int] = []
    unknown: list[int] = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        progress("Counting tokens of texts", start, len(texts))
        part = list(texts[start : start + _TEXTS_AT_ONCE])
        for ids in tokenizer(part, truncation=False, verbose=False)["input_ids"]:
            lengths.append(len(ids))
            unknown.append(ids.count(tokenizer.unk_token_id))
    return Tokens(
        _percentiles(np.array(lengths, np.int64)),
        sum(unknown) / max(sum(lengths), 1),
        sum(map(bool, unknown)),
    )


def _read(layout: Layout) -> dict[str, str]:
    roles = {each.name: getattr(layout.columns, each.name) for each in fields(Columns)}
    parts = ",".join(layout.time_parts)
    return {
        "interactions": layout.interactions.name,
        "items": layout.items.name,
        **{role: name for role, name in roles.items() if name in {*layout.of_log, parts} - {""}},
        "item_key": layout.columns.item_key or layout.columns.item or "",
    }


def _actions(events: UnsortedEvents) -> list[str]:
    if events.actions or events.target is None or events.target.all():
        return events.actions
    return [DISLIKED, LIKED]


def _periods(events: UnsortedEvents) -> tuple[list[int], int | None, int | None]:
    if events.ticks is None:
        return [], None, None
    counts, _ = np.histogram(events.ticks, _PERIODS)
    first, last = (int(found // events.per_second)
                   for found in (events.ticks.min(), events.ticks.max()))  # fmt: skip
    return counts.tolist(), first, last


def _pairs(events: UnsortedEvents, items: int) -> Iterator[NDArray[np.int64]]:
    """User and item of each event as one number, some users at a time."""
    parts = len(events) // _PAIRS_AT_ONCE + 1
    for part in range(parts):
        chosen = ... if parts == 1 else events.user % parts == part
        yield events.user[chosen].astype(np.int64) * items + events.item[chosen]


def _percentiles(values: NDArray[np.int64]) -> dict[str, float]:
    found = np.percentile(values, PERCENTILES)
    return {str(name): float(value) for name, value in zip(PERCENTILES, found, strict=True)}
