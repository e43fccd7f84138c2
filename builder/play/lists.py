"""Asks a server for a list, and says what changed since the one before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from builder.play.history import History
from builder.play.items import ItemTexts
from builder.play.option_fields import of_rank
from client import Item, RecommenderClient, RecommenderError

NEW_ITEM: Final = "new item of this page"
"""Id of the item that is typed in."""


@dataclass(frozen=True, slots=True)
class Row:
    """An item of a list.

    ``rose`` is by how many places it went up since the list before, None where it was not in that,
    0 in a first list. ``new`` marks the item that was typed in; its rank is the one that it would
    have among the others.
    """

    rank: int
    id: str
    text: str
    interest: float
    rose: int | None = 0
    new: bool = False

    @property
    def known(self) -> bool:
        """Whether there is an interest: the list for all users has none."""
        return self.interest == self.interest


@dataclass(frozen=True, slots=True)
class Shown:
    """A list, or the error that came in its place.

    Attributes
    ----------
    ids
        Of the items that the server recommended, for the comparison with the next list.
    milliseconds
        Of the call of ``recommend``; None where it failed.
    notes
        What is to be known of the list, a sentence each.
    left
        Texts of the items of the list before that are not in this one.
    """

    rows: Sequence[Row] = ()
    ids: Sequence[str] = ()
    milliseconds: float | None = None
    notes: Sequence[str] = ()
    left: Sequence[str] = ()
    error: str = ""

    @property
    def moved(self) -> int:
        return sum(row.rose != 0 for row in self.rows)


def ask(
    client: RecommenderClient,
    history: History,
    options: Mapping[str, Any],
    *,
    items: ItemTexts,
    new_text: str = "",
    before: Sequence[str] = (),
) -> Shown:
    """Recommend for a history, and rank the text ``new_text`` among the list.

    ``before`` are the ids of the list before, best first.
    """
    events = [entry.event() for entry in history]
    began = time.perf_counter()
    try:
        best = client.recommend(events, **options)
        milliseconds = (time.perf_counter() - began) * 1000
        places = {item: place for place, item in enumerate(before)}
        rows = [
            Row(rank, each.id, items.of(each.id), each.interest, _rose(each.id, rank, places))
            for rank, each in enumerate(best, 1)
        ]
        notes = _notes(best.fallback, best.skipped, best.truncated)
        if new_text:
            candidates: list[str | Item] = [*best.ids, Item(NEW_ITEM, new_text)]
            ranking = client.rank(events, candidates, **of_rank(options))
            place = int(np.count_nonzero(ranking.logits[:-1] >= ranking.logits[-1]))
            interest = float(ranking.interests[-1])
            rows.insert(place, Row(place + 1, NEW_ITEM, new_text, interest, new=True))
    except RecommenderError as error:
        return Shown(error=str(error), ids=before)
    here = set(best.ids)
    left = [items.of(item) for item in before if item not in here]
    return Shown(rows, best.ids, milliseconds, notes, left)


def _rose(item: str, rank: int, places: Mapping[str, int]) -> int | None:
    if not places:
        return 0
    place = places.get(item)
    return None if place is None else place + 1 - rank


def _notes(fallback: bool, skipped: int, truncated: int) -> list[str]:  # noqa: FBT001 - one of three
    notes = []
    if fallback:
        notes.append(
            "FALLBACK: these are popular items, the same for all users. The server's network over "
            "users failed; its log says why."
        )
    if skipped:
        notes.append(f"SKIPPED: {_events(skipped)} left out, since the catalogue lacks the item.")
    if truncated:
        what = "1 text was" if truncated == 1 else f"{truncated} texts were"
        notes.append(f"TRUNCATED: {what} cut to the longest length that the encoder reads.")
    return notes


def _events(count: int) -> str:
    return "1 event was" if count == 1 else f"{count} events were"
