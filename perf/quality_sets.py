"""The data sets of the quality bench, and slices of them that imitate other shapes.

A slice is made from its source by code, the same each time. It is written as a log and an item file
of its own, with the rating 1 for a target and 0 for context.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from builder.data import DataConfig, Interactions, read

Slice = Callable[[pd.DataFrame], pd.DataFrame]
"""Events with the columns user_id, item_id, rating and timestamp, by user and time → some."""

LAST_EVENTS: Final = 5
FEW_USERS: Final = 150
FEW_ITEMS: Final = 300
REPEATED: Final = 0.5
_RECENT: Final = 5


@dataclass(frozen=True)
class QualitySet:
    """A set of the bench.

    Attributes
    ----------
    source
        Its directory in that of the sets.
    min_rating, min_events
        Options of `train`, for the source.
    make
        The slice; None for the source as it is.
    sliced_min_events
        ``min_events`` for the slice.
    whole_catalogue
        Whether a slice keeps the items that it has no events of.
    temporal
        Whether it is split by time, and replayed too.
    """

    name: str
    source: str
    min_rating: float
    min_events: int
    make: Slice | None = None
    sliced_min_events: int = 3
    whole_catalogue: bool = True
    temporal: bool = False

    @property
    def options(self) -> list[str]:
        """What `train` is given beside the defaults."""
        rating, events = self.min_rating, self.min_events
        if self.make is not None:
            rating, events = 1.0, self.sliced_min_events
        options = ["--min-rating", f"{rating:g}", "--min-events", str(events)]
        return [*options, "--split", "temporal"] if self.temporal else options

    def directory(self, sets: Path, made: Path) -> Path:
        """Where the data is, in ``sets`` or, after making the slice if need be, in ``made``."""
        source = sets / self.source
        if self.make is None:
            return source
        directory = made / self.name.replace(" ", "-")
        if not directory.exists():
            unfinished = directory.with_name(f"{directory.name}.partial")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _write(self, source, unfinished)
            unfinished.rename(directory)
        return directory


def short_histories(events: pd.DataFrame) -> pd.DataFrame:
    """The last `LAST_EVENTS` targets of each user."""
    return events[events["rating"] == 1].groupby("user_id", sort=False).tail(LAST_EVENTS)


def few_users(events: pd.DataFrame) -> pd.DataFrame:
    """`FEW_USERS` users, evenly spread by their ids."""
    users = np.sort(events["user_id"].unique())
    kept = users[np.linspace(0, len(users) - 1, min(FEW_USERS, len(users))).astype(int)]
    return events[events["user_id"].isin(kept)]


def few_items(events: pd.DataFrame) -> pd.DataFrame:
    """The `FEW_ITEMS` items with the most events."""
    counts = events["item_id"].value_counts().sort_index().sort_values(kind="stable")
    return events[events["item_id"].isin(counts.index[-FEW_ITEMS:])]


def without_times(events: pd.DataFrame) -> pd.DataFrame:
    """The order of each user's events, without their times."""
    return events.drop(columns="timestamp")


def repetition(events: pd.DataFrame) -> pd.DataFrame:
    """A second after `REPEATED` of the events, one of the user's last few items once more."""
    random = np.random.default_rng(0)
    repeated = random.random(len(events)) < REPEATED
    place = events.groupby("user_id", sort=False).cumcount().to_numpy()
    back = (random.random(len(events)) * np.minimum(place + 1, _RECENT)).astype(int)
    again = events.iloc[np.flatnonzero(repeated)].copy()
    again["item_id"] = events["item_id"].to_numpy()[np.flatnonzero(repeated) - back[repeated]]
    again["timestamp"] += 1
    both = pd.concat([events, again])
    number = both["user_id"].map({user: at for at, user in enumerate(events["user_id"].unique())})
    return (
        both.assign(number=number)
        .sort_values(["number", "timestamp"], kind="stable")
        .drop(columns="number")
    )


_ML = ("ml-100k", 4.0, 8)
_SMALL = ("ml-latest-small", 4.0, 8)
_TWEETS = ("movietweetings-100k", 7.0, 5)
SETS: Final = (
    QualitySet("ml-100k", *_ML),
    QualitySet("ml-latest-small", *_SMALL),
    QualitySet("movietweetings-100k", *_TWEETS),
    QualitySet("short histories", *_ML, make=short_histories),
    QualitySet("few users", *_SMALL, make=few_users, sliced_min_events=8),
    QualitySet("few items", *_TWEETS, make=few_items, whole_catalogue=False),
    QualitySet("no times", *_ML, make=without_times, sliced_min_events=8),
    QualitySet("repetition", *_ML, make=repetition, sliced_min_events=8),
    QualitySet("temporal", *_TWEETS, temporal=True),
)


def _write(each: QualitySet, source: Path, directory: Path) -> None:
    interactions, catalogue = read(DataConfig(source, min_rating=each.min_rating))
    assert each.make is not None
    events = each.make(_events(interactions, catalogue.item_ids))
    items = pd.DataFrame({"item_id": catalogue.item_ids, "title": catalogue.texts})
    if not each.whole_catalogue:
        items = items[items["item_id"].isin(events["item_id"])]
    events.to_csv(directory / "interactions.csv", index=False)
    items.to_csv(directory / "items.csv", index=False)


def _events(interactions: Interactions, item_ids: list[str]) -> pd.DataFrame:
    target = interactions.target
    return pd.DataFrame(
        {
            "user_id": np.array(interactions.user_ids)[interactions.user],
            "item_id": np.array(item_ids)[interactions.item],
            "rating": np.ones(len(interactions), int) if target is None else target.astype(int),
            "timestamp": interactions.time,
        }
    )
