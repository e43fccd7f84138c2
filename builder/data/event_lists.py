"""Rows that stand for several events: lists of items, and MIND's impressions."""

from __future__ import annotations

import ast
import json
import re
import warnings
from abc import abstractmethod
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from builder.data.dialect import Dialect
from builder.data.files import Batch, scan
from builder.data.json_files import plain_text
from builder.data.object_ids import objects_in
from builder.data.problems import Problems
from builder.data.rows import TEXT, UNIT_SEPARATOR
from builder.data.times import UNREADABLE, TimeColumn

_BETWEEN: Final = re.compile(r"[,;|]")
# A value in quotes, where values begin and end.
_QUOTED: Final = re.compile(
    r"""(?<![^\s,;|])("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')(?![^\s,;|])""", re.DOTALL
)
_HELD: Final = "\0"  # stands for a value in quotes, which may have separators in it
_SEPARATORS: Final = " \t\r\n,;|"
_AROUND: Final = " \t\r\n'\""
_Row = tuple[list[str], list[str]]  # items and their times


class Events(Protocol):
    """Makes events of rows."""

    @property
    def reads(self) -> Sequence[str]:
        """Columns that it needs."""

    @property
    def lists(self) -> Collection[str]:
        """Those whose lists are to keep their values apart, see `Dialect.apart`."""
        return ()

    @abstractmethod
    def of(self, batch: Batch) -> tuple[list[int], dict[str, list[str]]]:
        """How many events each row has, and the columns of the events that are made of lists."""


def list_of(text: str) -> list[str]:
    """The values of a list: in brackets as Python, numpy or JSON writes it, or as plain text.

    Between the values stand spaces, or commas, semicolons or bars; in quotes, values have them too.
    """
    for bracket in ("[]", "()", "{}"):
        if text[:1] + text[-1:] == bracket:
            text = text[1:-1]
    pieces = _QUOTED.split(text) if "'" in text or '"' in text else [text]
    others, quoted = pieces[::2], pieces[1::2]
    if not any(each.strip(_SEPARATORS) for each in others):
        return [*filter(None, map(_unquoted, quoted))]
    text = _HELD.join(others)
    parts = _BETWEEN.split(text) if _BETWEEN.search(text) else text.split()
    return [value for part in parts if (value := _with_quoted(part.strip(_AROUND), quoted))]


def _with_quoted(part: str, quoted: list[str]) -> str:
    """A value of a list, with what is held for it, which is first in ``quoted`` and is taken."""
    if not quoted:
        return part
    if part == _HELD:
        return _unquoted(quoted.pop(0))
    while _HELD in part and quoted:
        part = part.replace(_HELD, quoted.pop(0), 1)
    return part.strip(_AROUND)


def _unquoted(text: str) -> str:
    """What is in quotes, as JSON or Python writes it."""
    if "\\" in text:
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError), warnings.catch_warnings():
                warnings.simplefilter("error")  # of escapes that Python does not have
                return str(read(text)).encode(errors="replace").decode()
    return text[1:-1]


class Lists(Events):
    """A row has the items of a user in a list, oldest first, and their times where it has any.

    Parameters
    ----------
    last
        A column with the item after those of the list.
    as_text
        Whether the file has text such as ``[1, 2]`` for a list, and no lists of its own.

    Notes
    -----
    A history grows: where a later row of a user begins with the items of the row before, and with
    their times where these are lists, only what is new in it is events. The same items once more
    are no history that grew, and are events again: a second purchase. They are none where the times
    are the same too, or where ``last`` says that the rows are the prefixes of a sequence.
    """

    def __init__(
        self, user: str, items: str, times: str | None, last: str | None, *, as_text: bool = False
    ) -> None:
        self._values: Final = list_of if as_text else _values
        self._user: Final = user
        self._items: Final = items
        self._times: Final = times
        self._last: Final = last
        self._before: dict[str, tuple[list[str], list[str]]] = {}

    @property
    def reads(self) -> Sequence[str]:
        return [*filter(None, (self._user, self._items, self._times, self._last))]

    @property
    def lists(self) -> Collection[str]:
        return [*filter(None, (self._items, self._times))]

    def of(self, batch: Batch) -> tuple[list[int], dict[str, list[str]]]:
        blank = [""] * batch.rows

        def texts(name: str | None) -> list[str]:
            found = batch.columns.get(name or "")
            return blank if found is None else found.to_pylist()

        made: dict[str, list[str]] = {self._items: []}
        timed = self._times is not None and self._times in batch.columns
        if timed:
            made[self._times or ""] = []
        counts = []
        written = texts(self._times)
        columns = (*map(texts, (self._user, self._items, self._last)), written, _are_times(written))
        for user, listed, last, time, is_time in zip(*columns, strict=True):
            items = [*self._values(listed), *filter(None, [last])] or [""]  # which is reported
            times = [time] if is_time else self._values(time)
            if len(times) != len(items):
                # A list of another length is reported as no time.
                times = [time.replace(UNIT_SEPARATOR, " ")] * len(items)
            before = self._before.get(user, ([], []))
            self._before[user] = items, times
            start = self._known(before, (items, times), timed=timed)
            counts.append(len(items) - start)
            made[self._items] += items[start:]
            if timed:
                made[self._times or ""] += times[start:]
        return counts, made

    def _known(self, before: _Row, row: _Row, *, timed: bool) -> int:
        """How many of the items, from the first on, were events of the row before."""
        start = len(before[0])
        if row[0][:start] != before[0] or row[0] == [""]:
            return 0
        same_times = row[1][:start] == before[1]
        if len(row[0]) == start:
            return start if same_times and (timed or self._last is not None) else 0
        is_list = len({*row[1]}) > 1
        return start if same_times or not is_list else 0


def _values(text: str) -> list[str]:
    """The values of a list that the file has as one."""
    return [*filter(None, text.split(UNIT_SEPARATOR))]


def _are_times(texts: list[str]) -> list[bool]:
    """Which texts are one time, such as 2024-05-01 12:30, and no list of them."""
    kinds = TimeColumn().add(0, pa.array(texts, TEXT), np.ones(len(texts), np.bool_))
    return [kind != UNREADABLE for kind in kinds.tolist()]


class Objects(Events):
    """A row has an object for each item: its id, and what else is known of it.

    Parameters
    ----------
    key
        The key of the id.
    others
        Keys of which columns are made, such as ``items.name``.
    """

    def __init__(self, items: str, key: str, others: Sequence[str]) -> None:
        self._items: Final = items
        self._key: Final = key
        self._others: Final = {f"{items}.{other}": other for other in others}

    @property
    def reads(self) -> Sequence[str]:
        return (self._items,)

    def of(self, batch: Batch) -> tuple[list[int], dict[str, list[str]]]:
        column = batch.columns.get(self._items)
        texts = [""] * batch.rows if column is None else column.to_pylist()
        rows: list[list[dict[str, Any]]] = [
            # An id by itself among objects is one all the same; what is neither is reported.
            objects_in(text) or [{} if "{" in text or text == "[]" else {self._key: text}]
            for text in texts
        ]
        found = [each for row in rows for each in row]
        keys = {self._items: self._key, **self._others}
        made = {name: [plain_text(each.get(key)) for each in found] for name, key in keys.items()}
        return [len(row) for row in rows], made


class Impressions(Events):
    """MIND's impressions: the clicks of the user before the log, and what was shown, with clicks.

    What was shown and not clicked is no event. The clicks before have no times. They become events
    at the first time of their user, before those of the log.
    """

    def __init__(self, user: str, shown: str, time: str, path: Path, dialect: Dialect) -> None:
        self._user: Final = user
        self._shown: Final = shown
        self._time: Final = time
        self._first = _first_times(path, dialect, user, time)

    @property
    def reads(self) -> Sequence[str]:
        return (self._user, self._shown, self._time, "history")

    def of(self, batch: Batch) -> tuple[list[int], dict[str, list[str]]]:
        columns = [batch.columns[name].to_pylist() for name in self.reads]
        counts, items, times = [], list[str](), list[str]()
        for user, shown, time, history in zip(*columns, strict=True):
            first = self._first.pop(user, None)
            earlier = [] if first is None else history.split()
            # Test files tell no clicks.
            clicked = [each[:-2] for each in shown.split() if each.endswith("-1")]
            counts.append(len(earlier) + len(clicked))
            items += [*earlier, *clicked]
            times += [*([first or ""] * len(earlier)), *([time] * len(clicked))]
        return counts, {self._shown: items, self._time: times}


def _first_times(path: Path, dialect: Dialect, user: str, time: str) -> dict[str, str]:
    """The first time of each user, as it is written."""
    users: list[pa.Array] = []
    texts: list[pa.Array] = []
    kinds = []
    times = TimeColumn()

    def take(batch: Batch) -> None:
        users.append(batch.columns[user])
        texts.append(batch.columns[time])
        kinds.append(times.add(0, batch.columns[time], np.ones(batch.rows, np.bool_)))

    if scan(path, {user, time}, Problems(), take, dialect) is None or not users:
        return {}
    ticks = np.where(np.concatenate(kinds) == UNREADABLE, np.iinfo(np.int64).max, times.take()[0])
    rows = pd.DataFrame({"user": pa.chunked_array(users).to_pandas(), "ticks": ticks})
    first = rows.groupby("user", sort=False)["ticks"].idxmin()
    written = pa.chunked_array(texts).take(pa.array(first.to_numpy())).to_pylist()
    return dict(zip(first.index, written, strict=True))
