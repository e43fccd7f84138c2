"""Reads the log of events, of any size: a batch of rows becomes numbers before the next is read.

What stays in memory is 16 bytes an event (20 with actions, and one more where some are context) and
the ids of the users.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builder.data.config import DataConfig
from builder.data.events import scan_events
from builder.data.files import Batch, TextFile
from builder.data.item_codes import ItemCodes
from builder.data.layouts import Layout
from builder.data.problems import (
    BAD_ROWS,
    NO_OBJECT,
    NOT_UTF8,
    SWALLOWED,
    TOO_FEW_ITEMS,
    WRONG_LENGTH,
    Problems,
)
from builder.data.ratings import ratings_of, scales_in_words
from builder.data.row_faults import Findings, RowFaults, of_all_rows
from builder.data.rows import is_missing
from builder.data.tables import Catalogue
from builder.data.times import KINDS, UNREADABLE, TimeColumn
from builder.data.unsorted import UnsortedEvents, count

_BLOCK_BYTES: Final = 1 << 20  # of which pyarrow reads many ahead
_LOSE_ITEMS: Final = (WRONG_LENGTH, NO_OBJECT, SWALLOWED, TOO_FEW_ITEMS)


def read_log(
    config: DataConfig,
    layout: Layout,
    catalogue: Catalogue | None,
    left_out: Collection[str],
    problems: Problems,
    watch: Callable[[Batch], None],
    *,
    ratings: bool = False,
) -> tuple[UnsortedEvents | None, Catalogue | None]:
    """Read and check the log; None means that ``problems`` says what is wrong with it.

    ``watch`` sees each batch of events. With ``ratings``, these are kept too.

    Events of the items that are ``left_out`` are too. The catalogue comes back with the items that
    only the log knows, where they are kept.
    """
    columns = layout.columns
    # Items were lost with their rows: that their events know them no more is no second fault.
    lost_items = any(kind in problems for kind in _LOSE_ITEMS)
    if NOT_UTF8 in problems and catalogue is not None:
        lost_items |= any("\ufffd" in item for item in catalogue.item_ids)
    events = _Events(config, layout, None if lost_items else catalogue, left_out, ratings=ratings)
    wanted = {getattr(columns, field.name) for field in fields(columns)}

    def take(batch: Batch) -> None:
        events.add(batch)
        watch(batch)

    of_log = Problems()
    log = scan_events(layout, wanted, of_log, take, _BLOCK_BYTES)
    none_read = log is not None and not events.rows
    left_out_rows = of_log.moved(BAD_ROWS if none_read or config.on_bad_rows == "drop" else ())
    problems.take(of_log)
    if log is None:
        return None, None
    required = {"user", "item"} | ({"rating"} if config.min_rating is not None else set())
    required |= {"action"} if config.target_actions else set()
    required |= {f.name for f in fields(columns) if getattr(layout.given, f.name) is not None}
    present = [
        log.has(getattr(columns, role) or role, role, problems)
        for role in ("user", "item", "time", "rating", "action")
        if role in required
    ]
    if not all(present):
        return None, None
    if config.request_time and columns.time not in log.names:
        problems.add(
            "no times",
            f"{log.path}:1: {columns.time or 'time'}: there is no such column, and the time of a "
            f"request ({', '.join(config.request_time)}) is learnt from it; name it with --column "
            f"time=NAME, one of {', '.join(log.names)}, or leave --request-time out",
        )
        return None, None
    if not events.rows:
        _report_no_events(log, left_out_rows, problems)
        return None, None
    events.report(log, problems, left_out_rows)
    if len(problems):
        return None, None
    found = events.collected(log)
    if not len(found):
        problems.add(
            "empty log",
            f"{log.path}: none of the {events.rows:,} events is left after the minimum rating "
            f"({config.min_rating}), the target actions "
            f"({', '.join(config.target_actions) or 'any'}) and the minimum of events per user "
            f"({config.min_events}); lower or widen them",
        )
        return None, None
    if catalogue is not None:
        catalogue = catalogue.with_items(events.items.new, columns.item_key or columns.item or "")
    return found, catalogue


def _report_no_events(log: TextFile, bad_rows: Problems, problems: Problems) -> None:
    if len(bad_rows):
        problems.take(bad_rows.reworded(of_all_rows))
    else:
        problems.add("empty log", f"{log.path}: there are no events; give a log that has some")


class _Events:
    """The events read so far, and what is wrong with them.

    Of an event that is dropped nothing stays but its user's id and its action: they are numbered as
    they first appear in the file.
    """

    def __init__(
        self,
        config: DataConfig,
        layout: Layout,
        catalogue: Catalogue | None,
        left_out: Collection[str],
        *,
        ratings: bool,
    ) -> None:
        self.rows = 0
        self._keeps_ratings = ratings
        self._config = config
        self._columns = layout.columns
        self._users = _Codes()
        self._actions = _Codes()
        self._actions.numbers[""] = 0  # "not known", whatever comes first
        self._times = TimeColumn(config.time_format)
        # INT32 [E] each, as bytes: they grow in place, where joining arrays would take them twice.
        self._user = bytearray()
        self._item = bytearray()
        self._action = bytearray()
        self._target = bytearray()  # BOOL [E]; empty where all that is kept are targets
        self._rating = bytearray()  # FP32 [E]; only where they are kept
        self._kind = bytearray()  # INT8 [E], of the times; only where rows may be left out
        self._drops = config.on_bad_rows == "drop"
        self._without_user = RowFaults(_no_value, drop=self._drops)
        self._without_item = RowFaults(_no_value, drop=self._drops)
        self._scales: dict[float, int] = {}  # of ratings, with the first row of each
        self._item_ids = catalogue.index if catalogue is not None else {}
        self.items = ItemCodes(config, layout.items.name, catalogue, left_out)
        self._bad_times = RowFaults(
            lambda text: (
                f"{text!r} is no time of 1970 to 2100; write Unix seconds or ISO 8601 such as "
                "2024-05-01T12:30:00Z, say by --time-format what it is, or give "
                "--on-bad-rows drop"
            ),
            drop=self._drops,
        )
        self._bad_ratings = RowFaults(
            lambda text: (
                f"{text!r} is no number, which the minimum rating needs; correct it, or give "
                "--on-bad-rows drop"
            ),
            drop=self._drops,
        )

    def add(self, batch: Batch) -> None:
        """Take the rows after those taken before."""
        columns = self._columns
        blank = pa.repeat(pa.scalar("", pa.large_string()), batch.rows)
        user = batch.columns.get(columns.user or "", blank)
        item = batch.columns.get(columns.item or "", blank)
        users, no_user = self._users.encode(user)
        encoded = item.dictionary_encode()
        without = _are_missing(encoded, self._item_ids)
        keep = self._without_item.add(self.rows, without, item)
        items, known = self.items.add(self.rows, encoded, without)
        keep &= known
        keep &= self._without_user.add(self.rows, no_user, user)
        target = np.ones(batch.rows, np.bool_)
        text = batch.columns.get(columns.rating or "", blank)
        ratings = None
        if self._keeps_ratings or self._config.min_rating is not None:
            ratings, scales = ratings_of(text)
            for scale, row in scales.items():
                self._scales.setdefault(scale, self.rows + row)
        if ratings is not None and self._config.min_rating is not None:
            keep &= self._bad_ratings.add(self.rows, ~np.isfinite(ratings), text)
            target = ratings >= self._config.min_rating
        action = batch.columns.get(columns.action or "")
        actions = None if action is None else self._actions.encode(action)[0]
        if actions is not None and self._config.target_actions:
            numbers = self._actions.numbers
            wanted = [numbers.get(name, -1) for name in self._config.target_actions]
            target = target & np.isin(actions, wanted)
        if self._config.context == "drop":
            keep &= target
        elif self._chooses:
            self._target += target[keep].data
        if actions is not None:
            self._action += bytes(len(self._user) - len(self._action))  # events before had none
            self._action += actions[keep].data
        if ratings is not None and self._keeps_ratings:
            self._rating += ratings[keep].astype(np.float32).data
        self._user += users[keep].data
        self._item += items[keep].data
        time = batch.columns.get(columns.time or "")
        kinds = self._times.add(self.rows, time, keep)
        if self._drops:
            self._kind += kinds[keep].data
        self._bad_times.add(self.rows, kinds == UNREADABLE, blank if time is None else time)
        self.rows += batch.rows

    @property
    def _chooses(self) -> bool:
        """Whether there may be events that are no targets."""
        return self._config.min_rating is not None or bool(self._config.target_actions)

    def report(self, log: TextFile, problems: Problems, left_out: Problems) -> None:
        """Record what is wrong with the rows of this log; some are ``left_out`` already."""
        columns = self._columns
        user, item, time = columns.user or "", columns.item or "", columns.time or ""
        name = log.path.name
        found = Findings(log, problems)
        found.left_out.take(left_out)
        self._without_user.report(found, f"missing values of {user} in {name}", user)
        self._without_item.report(found, f"missing values of {item} in {name}", item)
        self.items.report(found, item)
        if time in log.names:
            self._report_times(found, time)
        rating = columns.rating or ""
        self._bad_ratings.report(found, "ratings that cannot be read", rating)
        if len(self._scales) > 1 and self._config.min_rating is not None:
            row = sorted(self._scales.values())[1]
            why = (
                f"the ratings are {scales_in_words(self._scales)}, and no minimum fits all; write "
                "them on one scale, or name another column with --column rating=NAME"
            )
            found.add("ratings of several scales", rating, row, why, 1, drop=False)
        kinds = sorted(name for name in self._actions.numbers if name)
        for action in self._config.target_actions:
            if columns.action in log.names and action not in kinds:
                problems.add(
                    "target actions that are not in the log",
                    f"{log.path}: no event has the target action {action!r}; give one of "
                    f"{', '.join(kinds)}",
                )
        if not len(problems):
            found.left_out.warn_of_rows_left_out()

    def _report_times(self, found: Findings, column: str) -> None:
        self._bad_times.report(found, "times that cannot be read", column)
        odd = self._times.odd()
        if odd is not None:
            row, text, unit, count = odd
            found.add(
                "times of several kinds",
                column,
                row,
                f"{text!r} looks like {KINDS[unit]}, but most of the column is "
                f"{KINDS[self._times.usual]} ({count:,} rows differ); write all in one unit, say "
                "by --time-format what they are, or give --on-bad-rows drop",
                count,
                self._drops,
            )
        doubt = self._times.doubt()
        if self._config.request_time and self._times.is_counter:
            why = (
                "the numbers count events, and tell no hour or weekday; leave --request-time out, "
            )
            doubt = 0, f"{why}or say by --time-format what they are"
        if doubt is not None:
            row, why = doubt
            found.add("times in doubt", column, row, why, 1, drop=False)

    def collected(self, log: TextFile) -> UnsortedEvents:
        """Return the events of users that have enough of them, and forget all events."""
        users = np.frombuffer(self._user, np.int32)
        self._user = bytearray()  # the array alone holds the memory, until it is let go
        timed = self._with_times(log)
        target = np.frombuffer(self._target, np.bool_) if self._target else None
        self._target = bytearray()
        numbers = len(self._users.numbers)
        counts = count(users if timed is None else users[timed], numbers)
        wanted = counts
        if target is not None:
            wanted = count(users[target if timed is None else target & timed], numbers)
        enough = wanted >= max(self._config.min_events, 1)
        # ... copies nothing
        keep = ... if enough.sum() == np.count_nonzero(counts) else enough[users]
        if timed is not None:
            keep = timed & enough[users]
        user = users[keep]
        if not enough.all():
            user = (np.cumsum(enough, dtype=np.int32) - 1)[user]
        del users
        ticks, per_second = None, 1
        if self._columns.time in log.names:
            ticks, per_second = self._times.take()
            ticks = ticks[keep]
        item = np.frombuffer(self._item, np.int32)[keep]
        self._item = bytearray()
        action, actions = None, list[str]()
        if self._columns.action in log.names:
            kinds = list(self._actions.numbers)
            actions = sorted(name for name in kinds if name)
            codes = np.array([actions.index(name) + 1 if name else 0 for name in kinds], np.int32)
            action = codes[np.frombuffer(self._action, np.int32)[keep]]
            self._action = bytearray()
        rating = None
        if self._rating and len(self._scales) < 2:
            rating = np.frombuffer(self._rating, np.float32)[keep]
        user_ids = list(self._users.numbers)
        return UnsortedEvents(
            [user_ids[number] for number in np.flatnonzero(enough)],
            user,
            item,
            ticks,
            per_second,
            action,
            actions,
            None if target is None else target[keep],
            rating,
        )

    def _with_times(self, log: TextFile) -> NDArray[np.bool_] | None:
        """Which events have a time like the others, BOOL [E]; None where all have."""
        if not self._drops or self._columns.time not in log.names:
            return None
        kinds = np.frombuffer(self._kind, np.int8)
        self._kind = bytearray()
        usual = self._times.is_usual(kinds)
        return None if usual.all() else usual


def _no_value(text: str) -> str:
    stands = f" ({text} stands for that)" if text else ""
    return f"the value is missing{stands}; fill it in, or give --on-bad-rows drop"


class _Codes:
    """Gives distinct values numbers, in order of first appearance."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def encode(self, text: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the numbers, INT32 [B], of a batch's values, and which are missing, BOOL [B]."""
        encoded = text.dictionary_encode()
        numbers = self.numbers
        numbered = [numbers.setdefault(v, len(numbers)) for v in encoded.dictionary.to_pylist()]
        codes: NDArray[np.int32] = np.array(numbered, np.int32)[encoded.indices.to_numpy()]
        return codes, _are_missing(encoded)


def _are_missing(encoded: pa.DictionaryArray, ids: Collection[str] = ()) -> NDArray[np.bool_]:
    """Which values of a batch stand for a missing one and are none of the ids, BOOL [B]."""
    names = encoded.dictionary.to_pylist()
    values = np.array([is_missing(name) and not (name and name in ids) for name in names], np.bool_)
    missing: NDArray[np.bool_] = values[encoded.indices.to_numpy()]
    return missing
