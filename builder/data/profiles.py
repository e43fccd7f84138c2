"""Profiles: columns of the user file and of the item file that the model reads.

The known values of a column become ids.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from builder.data.request_time import NO_CLOCK, Clock
from builder.data.sequences import Sequences
from builder.data.splits import Holdout, Split
from builder.data.tables import Catalogue, Interactions
from builder.errors import DataError
from model_repository.core.profile import ProfileColumn, ProfileReader, as_number

BUCKETS: Final = 10
"""Of a numeric column, each with about as many of the training users, or items."""
NUMERIC: Final = 0.9
"""Share of a column's values that are numbers from which it is one of numbers. Real columns have
strays: among MovieLens' 1,682 years are a "V" and an "unkonwn"."""
FEWEST: Final = 2
"""Training users, or items, that a value must have; from one nothing is learnt of others."""

log = logging.getLogger(__name__)


def choose_profile(split: Split, interactions: Interactions) -> tuple[ProfileColumn, ...]:
    """Which values of the profile's columns are known, by the training users alone.

    A column is numeric if nearly all of its values are numbers (`NUMERIC`), and more different
    ones than `BUCKETS`; what is no number there is not known. Another column has a value for each
    text that `FEWEST` have.

    Raises
    ------
    DataError
        A column has no value to learn from.
    """
    everyone = interactions.profile
    if everyone is None:
        return ()
    training = set(split.train.user_ids)
    rows = everyone[[user in training for user in interactions.user_ids]]
    return tuple(_column(str(name), rows[name].tolist(), "users") for name in everyone.columns)


def choose_item_profile(
    names: Sequence[str], catalogue: Catalogue, warm: NDArray[np.bool_]
) -> tuple[ProfileColumn, ...]:
    """The same for columns of the item file, over the `warm` items, BOOL [n]."""
    rows = catalogue.columns[warm]
    return tuple(_column(name, rows[name].tolist(), "items") for name in names)


def item_ids(columns: Sequence[ProfileColumn], rows: pd.DataFrame) -> NDArray[np.int64]:
    """INT64 [n, F], ids of each item's profile; 0 throughout for a column that `rows` lack."""
    ids = np.zeros((len(rows), len(columns)), np.int64)
    for place, column in enumerate(columns):
        if column.name in rows:
            reader = ProfileReader([column])
            ids[:, place] = [reader.ids({column.name: text})[0] for text in rows[column.name]]
    return ids


def _column(name: str, texts: Sequence[str], whose: str) -> ProfileColumn:
    column = _known(name, texts, whose)
    kind = "buckets" if column.values is None else "values"
    log.info("%s, column %s: %d %s", whose, name, column.ids - 1, kind)
    return column


def _known(name: str, texts: Sequence[str], whose: str) -> ProfileColumn:
    known = [text for text in texts if text]
    numbers = [number for text in known if (number := as_number(text)) is not None]
    if len(numbers) >= NUMERIC * len(known) and len(set(numbers)) > BUCKETS:
        edges = np.quantile(numbers, np.arange(1, BUCKETS) / BUCKETS)
        return ProfileColumn(name, edges=tuple(np.unique(edges).tolist()))
    counts = pd.Series(known, dtype=object).value_counts()
    values = sorted(counts.index[counts >= FEWEST])
    if not values:
        raise DataError(
            f"profile column {name}: no value of it belongs to {FEWEST} of the training {whose}, "
            "so there is nothing to learn from; leave it out"
        )
    return ProfileColumn(name, values=tuple(values))


def with_profiles(
    split: Split,
    columns: Sequence[ProfileColumn],
    interactions: Interactions,
    clock: Clock = NO_CLOCK,
) -> Split:
    """Give every user of the split the ids of their profile; without columns, nothing.

    The last of the columns are the clock's. Those who are held out have there what it shows when
    they meet their target. In training each event has a time of its own, which
    `builder.training.windows` looks up, and the user's ids are 0.
    """
    if not columns:
        return split
    own = columns[: len(columns) - len(clock.columns)]
    ids = _ids_of_users(own, interactions)

    def known(sequences: Sequences) -> Sequences:
        profiles = np.zeros((len(sequences), len(columns)), np.int32)
        if ids and len(sequences):
            profiles[:, : len(own)] = [ids[user] for user in sequences.user_ids]
        if sequences.request_times is not None:
            profiles[:, len(own) :] = clock.ids(sequences.request_times)
        return replace(sequences, profiles=profiles)

    def held_out(holdout: Holdout) -> Holdout:
        return replace(holdout, histories=known(holdout.histories))

    return replace(
        split,
        train=known(split.train),
        validation=held_out(split.validation),
        test=held_out(split.test),
        cold=held_out(split.cold),
        everything=known(split.everything),
        refit=None if split.refit is None else known(split.refit),
    )


def _ids_of_users(
    columns: Sequence[ProfileColumn], interactions: Interactions
) -> dict[str, NDArray[np.int32]]:
    """Ids INT32 [P] of each user's own columns; no user where nothing is known."""
    if not columns or interactions.profile is None:
        return {}
    reader = ProfileReader(columns)
    names = [column.name for column in columns]
    told = interactions.profile[names].itertuples(index=False, name=None)
    return {
        user: reader.ids(dict(zip(names, values, strict=True)))
        for user, values in zip(interactions.user_ids, told, strict=True)
    }
