"""Reads the log of events, of any size: a batch of rows becomes numbers before the next is read.

What stays in memory is 16 bytes an event (20 with actions, and one more where some are context) and
the ids of the users. Sorting takes about as much again while it lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from builder.data.config import DataConfig
from builder.data.files import Batch, TextFile, scan
from builder.data.formats import Layout
from builder.data.problems import SHOWN_PER_KIND, Problems
from builder.data.tables import Catalogue, Interactions
from builder.data.times import KINDS, UNREADABLE, TimeColumn

LIKED: Final = "liked"
DISLIKED: Final = "disliked"
"""Actions of a log that has none, but ratings and a minimum that not all of them reach."""
_BLOCK_BYTES: Final = 1 << 20  # of which pyarrow reads many ahead


def read_log(
    config: DataConfig, layout: Layout, catalogue: Catalogue | None, problems: Problems
) -> Interactions | None:
    """Read, check and sort the log; None means that ``problems`` says what is wrong with it."""
    columns = layout.columns
    events = _Events(config, layout, catalogue)
    wanted = {getattr(columns, field.name) for field in fields(columns)}
    dialect = layout.dialects["interactions"]
    log = scan(layout.interactions, wanted, problems, events.add, _BLOCK_BYTES, dialect)
    if log is None:
        return None
    required = {"user", "item"} | ({"rating"} if config.min_rating is not None else set())
    required |= {"action"} if config.target_actions else set()
    required |= {f.name for f in fields(columns) if getattr(layout.given, f.name) is not None}
    present = [
        log.has(getattr(columns, role) or role, role, problems)
        for role in ("user", "item", "time", "rating", "action")
        if role in required
    ]
    if not all(present):
        return None
    if config.request_time and columns.time not in log.names:
        problems.add(
            "no times",
            f"{log.path}:1: {columns.time or 'time'}: there is no such column, and the time of a "
            f"request ({', '.join(config.request_time)}) is learnt from it; map 'time' to one of "
            f"{', '.join(log.names)}, or leave request_time out",
        )
        return None
    if not events.rows:
        problems.add("empty log", f"{log.path}: there are no events; give a log that has some")
        return None
    events.report(log, problems)
    if len(problems):
        return None
    interactions = events.sorted(log)
    if not len(interactions):
        problems.add(
            "empty log",
            f"{log.path}: none of the {events.rows:,} events is left after the minimum rating "
            f"({config.min_rating}), the target actions "
            f"({', '.join(config.target_actions) or 'any'}) and the minimum of events per user "
            f"({config.min_events}); lower or widen them",
        )
        return None
    return interactions


class _Events:
    """The events read so far, and what is wrong with them.

    Of an event that is dropped nothing stays but its user's id and its action: they are numbered as
    they first appear in the file.
    """

    def __init__(self, config: DataConfig, layout: Layout, catalogue: Catalogue | None) -> None:
        self.rows = 0
        self._config = config
        self._columns = layout.columns
        self._catalogue = catalogue
        self._users = _Codes()
        self._actions = _Codes()
        self._actions.numbers[""] = 0  # "not known", whatever comes first
        self._times = TimeColumn()
        # INT32 [E] each, as bytes: they grow in place, where joining arrays would take them twice.
        self._user = bytearray()
        self._item = bytearray()
        self._action = bytearray()
        self._target = bytearray()  # BOOL [E]; empty where all that is kept are targets
        self._without_user = _Wrong(lambda _: "the value is missing; fill it in or remove the row")
        self._without_item = _Wrong(lambda _: "the value is missing; fill it in or remove the row")
        self._unknown_items = _Wrong(
            lambda item: (
                f"item {item!r} is not in {layout.items.name}; add it there or remove its events"
            )
        )
        self._bad_times = _Wrong(
            lambda text: (
                f"{text!r} is no time; write Unix seconds or milliseconds, or "
                "ISO 8601 such as 2024-05-01T12:30:00Z"
            )
        )
        self._bad_ratings = _Wrong(
            lambda text: (
                f"{text!r} is no number, which the minimum rating needs; "
                "correct it or remove the row"
            )
        )

    def add(self, batch: Batch) -> None:
        """Take the rows after those taken before."""
        columns = self._columns
        blank = pa.repeat(pa.scalar("", pa.large_string()), batch.rows)
        user = batch.columns.get(columns.user or "", blank)
        item = batch.columns.get(columns.item or "", blank)
        keep = target = np.ones(batch.rows, np.bool_)
        if self._config.min_rating is not None:
            text = batch.columns.get(columns.rating or "", blank)
            ratings = _ratings(text)
            self._bad_ratings.add(self.rows, ~np.isfinite(ratings), text)
            target = ratings >= self._config.min_rating
        action = batch.columns.get(columns.action or "")
        actions = None if action is None else self._actions.encode(action)
        if actions is not None and self._config.target_actions:
            numbers = self._actions.numbers
            wanted = [numbers.get(name, -1) for name in self._config.target_actions]
            target = target & np.isin(actions, wanted)
        if self._config.context == "drop":
            keep = target
        elif self._chooses:
            self._target += target.data
        if actions is not None:
            self._action += bytes(len(self._user) - len(self._action))  # events before had none
            self._action += actions[keep].data
        self._without_user.add(self.rows, _is_blank(user), user)
        self._user += self._users.encode(user)[keep].data
        self._item += self._items(item)[keep].data
        time = batch.columns.get(columns.time or "")
        kinds = self._times.add(self.rows, time, keep)
        self._bad_times.add(self.rows, kinds == UNREADABLE, blank if time is None else time)
        self.rows += batch.rows

    def _items(self, text: pa.Array) -> NDArray[np.int32]:
        """INT32 [B]; -1 where the item is not known."""
        without = _is_blank(text)
        self._without_item.add(self.rows, without, text)
        if self._catalogue is None:
            return np.full(len(text), -1, np.int32)
        encoded = text.dictionary_encode()
        index = self._catalogue.index
        numbers = [index.get(item_id, -1) for item_id in encoded.dictionary.to_pylist()]
        items: NDArray[np.int32] = np.array(numbers, np.int32)[encoded.indices.to_numpy()]
        self._unknown_items.add(self.rows, (items < 0) & ~without, text)
        return items

    @property
    def _chooses(self) -> bool:
        """Whether there may be events that are no targets."""
        return self._config.min_rating is not None or bool(self._config.target_actions)

    def report(self, log: TextFile, problems: Problems) -> None:
        """Record what is wrong with the rows of this log, which are all here."""
        columns = self._columns
        user, item, time = columns.user or "", columns.item or "", columns.time or ""
        name = log.path.name
        self._without_user.report(log, problems, f"missing values of {user} in {name}", user)
        self._without_item.report(log, problems, f"missing values of {item} in {name}", item)
        self._unknown_items.report(log, problems, "events with items that are not known", item)
        if time in log.names:
            self._bad_times.report(log, problems, "times that cannot be read", time)
            self._report_odd_time(log, problems, time)
        rating = columns.rating or ""
        self._bad_ratings.report(log, problems, "ratings that cannot be read", rating)
        kinds = sorted(name for name in self._actions.numbers if name)
        for name in self._config.target_actions:
            if columns.action in log.names and name not in kinds:
                problems.add(
                    "target actions that are not in the log",
                    f"{log.path}: no event has the target action {name!r}; give one of "
                    f"{', '.join(kinds)}",
                )

    def _report_odd_time(self, log: TextFile, problems: Problems, column: str) -> None:
        odd = self._times.odd()
        if odd is None:
            return
        row, text, kind, count = odd
        log.report(
            problems,
            "times of several kinds",
            [row],
            column,
            lambda _: (
                f"{text!r} looks like {KINDS[kind]}, but most of the column is "
                f"{KINDS[self._times.usual]} ({count:,} rows differ); write all in one unit"
            ),
        )

    def sorted(self, log: TextFile) -> Interactions:
        """Return the events of users that have enough of them, and forget all events."""
        users = np.frombuffer(self._user, np.int32)
        self._user = bytearray()  # the array alone holds the memory, until it is let go
        counts = np.bincount(users, minlength=len(self._users.numbers))
        target = np.frombuffer(self._target, np.bool_) if self._target else None
        self._target = bytearray()
        wanted = counts if target is None else np.bincount(users[target], minlength=len(counts))
        enough = wanted >= max(self._config.min_events, 1)
        kept = np.flatnonzero(enough)
        keep = ... if len(kept) == np.count_nonzero(counts) else enough[users]  # ... copies nothing
        users = users[keep]
        # Both sorts are stable: events at the same time stay in the order of the file.
        if self._columns.time in log.names:
            ticks, per_second = self._times.take()
            ticks = ticks[keep]
            order = np.lexsort((ticks, users))
            del users
            time = ticks[order]
            time //= per_second  # rounds down
            del ticks
        else:
            time = None
            order = np.argsort(users, kind="stable")
            del users
        item = np.frombuffer(self._item, np.int32)[keep][order]
        self._item = bytearray()
        action, actions = None, list[str]()
        if self._columns.action in log.names:
            kinds = list(self._actions.numbers)
            actions = sorted(name for name in kinds if name)
            numbers = np.array([actions.index(name) + 1 if name else 0 for name in kinds], np.int32)
            action = numbers[np.frombuffer(self._action, np.int32)[keep][order]]
            self._action = bytearray()
        if target is not None:
            target = target[keep][order]
            if target.all():
                target = None
            elif action is None:
                # Whoever asks says by an action what the log said by its ratings.
                action, actions = np.where(target, 2, 1).astype(np.int32), [DISLIKED, LIKED]
        user_ids = list(self._users.numbers)
        return Interactions(
            user_ids=[user_ids[user] for user in kept],
            user=np.repeat(np.arange(len(kept), dtype=np.int32), counts[kept]),
            item=item,
            time=time,
            action=action,
            actions=actions,
            target=target,
        )


class _Codes:
    """Gives distinct values numbers, in order of first appearance."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def encode(self, text: pa.Array) -> NDArray[np.int32]:
        """Return the numbers, INT32 [B], of a batch's values."""
        encoded = text.dictionary_encode()
        numbers = self.numbers
        numbered = [numbers.setdefault(v, len(numbers)) for v in encoded.dictionary.to_pylist()]
        codes: NDArray[np.int32] = np.array(numbered, np.int32)[encoded.indices.to_numpy()]
        return codes


class _Wrong:
    """Rows with one kind of problem: the first ones in words, and how many there are."""

    def __init__(self, describe: Callable[[str], str]) -> None:
        self._describe = describe
        self._messages: dict[int, str] = {}
        self._count = 0

    def add(self, start: int, wrong: NDArray[np.bool_], text: pa.Array) -> None:
        """Take what is ``wrong``, BOOL [B], with the values of the rows from ``start``."""
        rows = np.flatnonzero(wrong)
        for row in rows[: SHOWN_PER_KIND - len(self._messages)].tolist():
            self._messages[start + row] = self._describe(text[row].as_py())
        self._count += len(rows)

    def report(self, log: TextFile, problems: Problems, kind: str, column: str) -> None:
        shown = list(self._messages)
        log.report(problems, kind, shown, column, self._messages.__getitem__, self._count)


def _is_blank(text: pa.Array) -> NDArray[np.bool_]:
    blank: NDArray[np.bool_] = pc.equal(text, "").to_numpy(zero_copy_only=False)
    return blank


def _ratings(text: pa.Array) -> NDArray[np.float64]:
    """FP64 [B]; not finite where the text is no number."""
    try:
        ratings: NDArray[np.float64] = text.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        ratings = pd.to_numeric(text.to_pandas(), errors="coerce").to_numpy(np.float64)
    return ratings
