"""The items of a log that no other file tells about, as the log first speaks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from builder.data.events import scan_events
from builder.data.files import Batch, TextTable
from builder.data.layouts import Layout
from builder.data.problems import Problems
from builder.data.rows import TEXT, is_missing


def items_of_log(layout: Layout, problems: Problems) -> TextTable | None:
    """A row for each item, of the columns that say nothing of users and events."""
    columns = layout.columns
    item = columns.item or ""
    of_events = {columns.user, columns.time, columns.rating, columns.action, layout.last_item}
    of_events |= set(layout.time_parts)
    seen: set[str] = set()
    found: list[Batch] = []
    rows: list[int] = []
    read = 0

    def take(batch: Batch) -> None:
        nonlocal read
        start, read = read, read + batch.rows
        if item not in batch.columns:
            return
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
    columns_of = {
        name: pa.chunked_array(
            [each.columns.get(name, pa.array([""] * each.rows, TEXT)) for each in found], TEXT
        )
        for name in names
        if name not in log.unread
    }
    about = replace(log, names=names, places=places_of_items)
    return TextTable(**vars(about), columns=columns_of)
