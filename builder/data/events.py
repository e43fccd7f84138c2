"""Reads a log as one event a row, also where the rows of the file are lists of events."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa

from builder.data.dates import joined
from builder.data.event_lists import Events, Impressions, Lists, Objects
from builder.data.files import Batch, TextFile, scan
from builder.data.json_files import plain_text
from builder.data.layouts import Layout
from builder.data.object_ids import objects_in
from builder.data.problems import Problems
from builder.data.rows import TEXT

Take = Callable[[Batch], None]


def scan_events(
    layout: Layout,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Take,
    *block_bytes: int,
) -> TextFile | None:
    """Read the log of a layout, see `builder.data.files.scan`.

    A time in several columns becomes one. A row with a list of items, as in RecBole's sequence
    files, becomes an event for each; so does an impression of MIND for each click.
    """
    columns, parts = layout.columns, layout.time_parts
    events = _events(layout, wanted)
    if events is not None:
        exploded = _Exploded(events, take)
        take = exploded.take
    if parts:
        take = partial(_with_time, take, columns.time or "", parts)
    if layout.user_key is not None:
        take = partial(_with_user, take, columns.user or "", layout.user_key)
    names = None if wanted is None else {*wanted, *parts, *(events.reads if events else ())}
    dialect = layout.dialects["interactions"]
    if events is not None:
        dialect = replace(dialect, apart=frozenset(events.lists))
    log = scan(layout.interactions, names, problems, take, dialect, *block_bytes)
    if log is None:
        return None
    if set(parts) <= set(log.names) and parts:
        log = replace(log, names=[*log.names, columns.time or ""])
    made = [f"{columns.item}.{key}" for key in layout.object_texts]
    log = replace(log, names=[*log.names, *(name for name in made if name not in log.names)])
    return log if events is None else replace(log, places=exploded.places_of(log))


def _events(layout: Layout, wanted: Collection[str] | None) -> Events | None:
    columns = layout.columns
    user, item, time = columns.user or "", columns.item or "", columns.time
    if layout.format == "mind":
        return Impressions(
            user, item, time or "", layout.interactions, layout.dialects["interactions"]
        )
    if layout.object_key is not None:
        keys = [k for k in layout.object_texts if wanted is None or f"{item}.{k}" in wanted]
        return Objects(item, layout.object_key, keys)
    if not layout.has_lists:
        return None
    return Lists(user, item, time, layout.last_item, as_text=layout.lists_are_text)


def _with_time(take: Take, column: str, parts: Sequence[str], batch: Batch) -> None:
    """Join the parts of a time to text such as 2024-05-01 12:30."""
    if set(parts) <= batch.columns.keys():
        time = joined([batch.columns[name] for name in parts])
        batch = replace(batch, columns={**batch.columns, column: time})
    take(batch)


def _with_user(take: Take, column: str, key: str, batch: Batch) -> None:
    """Put the id of a user in the place of an object with it."""
    if column in batch.columns:
        texts = batch.columns[column].to_pylist()
        found = [
            plain_text(objects[0].get(key)) if (objects := objects_in(text)) else text
            for text in texts
        ]
        batch = replace(batch, columns={**batch.columns, column: pa.array(found, TEXT)})
    take(batch)


class _Exploded:
    """Hands on rows of lists as rows of events, and remembers which came from which."""

    def __init__(self, events: Events, take: Take) -> None:
        self._events = events
        self._take = take
        self._ends: list[int] = []  # of each row, in events

    def take(self, batch: Batch) -> None:
        counts, made = self._events.of(batch)
        start = self._ends[-1] if self._ends else 0
        self._ends += (start + np.cumsum(counts)).tolist()
        row = pa.array(np.repeat(np.arange(batch.rows), counts))
        others = {name: text.take(row) for name, text in batch.columns.items() if name not in made}
        columns = {name: pa.array(texts, TEXT) for name, texts in made.items()}
        self._take(Batch(len(row), {**others, **columns}, batch.share))

    def places_of(self, log: TextFile) -> Callable[[Sequence[int]], list[str]]:
        def places(numbers: Sequence[int]) -> list[str]:
            rows = [bisect_right(self._ends, number) for number in numbers]
            found = dict(zip(sorted(set(rows)), log.places(sorted(set(rows))), strict=True))
            return [found[row] for row in rows]

        return places
