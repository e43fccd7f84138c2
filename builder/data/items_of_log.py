"""The items of a log that no other file tells about, as the log first speaks of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from builder.data.events import scan_events
from builder.data.files import Batch, TextTable, as_table
from builder.data.layouts import Layout
from builder.data.problems import Problems
from builder.data.rows import is_missing

_FEWEST: Final = 3  # events of items that had one before, from which on they tell anything


def items_of_log(layout: Layout, problems: Problems) -> TextTable | None:
    """A row for each item, of the columns that say nothing of users and events."""
    columns = layout.columns
    item = columns.item or ""
    of_events = {columns.user, columns.time, columns.rating, columns.action, layout.last_item}
    of_events |= set(layout.time_parts)
    of_event: set[str] = set()
    seen: set[str] = set()
    found: list[Batch] = []
    rows: list[int] = []
    read = 0

    def take(batch: Batch) -> None:
        nonlocal read
        start, read = read, read + batch.rows
        if item not in batch.columns:
            return
        if not start:
            of_event.update(_of_events(batch, item))
        encoded = batch.columns[item].dictionary_encode()
        _, first = np.unique(encoded.indices.to_numpy(), return_index=True)
        names = encoded.dictionary.to_pylist()
        new = [row for name, row in zip(names, first.tolist(), strict=True)
               if not is_missing(name) and name not in seen]  # fmt: skip
        seen.update(names)
        new.sort()
        rows.extend(start + row for row in new)
        wanted = {name: text for name, text in batch.columns.items() if name not in of_events}
        found.append(Batch(len(new), {name: text.take(pa.array(new, pa.int64()))
                                      for name, text in wanted.items()}))  # fmt: skip

    log = scan_events(layout, None, problems, take)
    if log is None:
        return None
    places = log.places

    def places_of_items(numbers: Sequence[int]) -> list[str]:
        return places([rows[number] for number in numbers])

    names = [name for name in log.names if name not in of_events]
    about = replace(
        log, names=names, places=places_of_items, nested=log.nested | of_event & {*names}
    )
    return as_table(about, found)


def _of_events(batch: Batch, item: str) -> Iterator[str]:
    """The columns that differ from event to event of an item: reviews, prices, what users are.

    A column is of the items if its values agree with those of the item's first event, and more
    often than they would by chance: halfway from there to always, at least.
    """
    codes = batch.columns[item].dictionary_encode().indices.to_numpy()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    again = np.setdiff1d(np.arange(batch.rows), first)
    if len(again) < _FEWEST:
        return
    of_first = first[inverse][again]
    for name, text in batch.columns.items():
        values = text.dictionary_encode().indices.to_numpy()
        agree = (values[again] == values[of_first]).mean()
        chance = np.bincount(values).max() / len(values)
        if name != item and agree <= (1 + chance) / 2:
            yield name
