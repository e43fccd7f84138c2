"""Recognises times: Unix time in any unit, ISO 8601, and dates with month names, US or European."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from builder.data.dates import AS_TEXT, calendar, day_and_month, day_first, text_times

TimeFormat = Literal[
    "auto",
    "seconds",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "day-first",
    "month-first",
]
TIME_FORMATS: Final = get_args(TimeFormat)
KINDS: Final = (
    *TIME_FORMATS[1:],
    "ISO text",
    "YYYYMMDD",
    "YYYYMMDDhhmm",
    "YYYYMMDDhhmmss",
    "dates with the day or the month first",
    "numbers too small for a time",
)
UNREADABLE: Final = -1

_DAY_FIRST, _MONTH_FIRST, _ISO, _DATE, _MINUTE, _SECOND, _EITHER, _SMALL = range(7, 15)
# Of each kind of number: how many seconds one is, or how many of it are a second.
_SECONDS: Final = {4: 60, 5: 3600, 6: 86400}
_PER_SECOND: Final = {0: 1, 1: 10**3, 2: 10**6, 3: 10**9, _SMALL: 1}
# Which numbers are of a unit: from the seventies, or later where Windows' ticks since 1601 and
# .NET's since 1 would fit too, to 2100.
_RANGES: Final = ((1e8, 4.1025e9), (3.1e11, 4.1025e12), (3.1e14, 4.1025e15), (7e17, 4.1025e18))
_CALENDAR: Final = ((_DATE, 10**6), (_MINUTE, 100), (_SECOND, 1))  # what fills up the digits
_COUNTER: Final = 1000  # numbers that begin below it count events, and say their order
_NUMBER: Final = r"^-?\d+(\.\d*)?([eE][+-]?\d+)?$"
# Numbers that are none of the above, but often stand in such a column: from, to, what, what to do.
_LIKELY: Final = (
    (1900, 2100, "years", "name a column of full times by --column time=NAME"),
    (7_300, 32_800, "days since 1970", "give --time-format days"),
    (32_800, 73_100, "dates of a spreadsheet", "save them as dates such as 2024-05-01 12:30:00"),
    (175_000, 800_000, "hours since 1970", "give --time-format hours"),
    (10_500_000, 48_000_000, "minutes since 1970", "give --time-format minutes"),
)


class TimeColumn:
    """Reads a column of times, a batch after the other; the size of a number says its unit.

    A column of whole numbers is kept as they are. One that has anything else is in microseconds,
    those of its batches too that are of whole numbers.
    """

    def __init__(self, form: TimeFormat = "auto") -> None:
        self._form: TimeFormat = form
        self._ticks = bytearray()  # INT64, in place: joining arrays would take them twice
        self._without = 0  # events before the first batch that has times
        self._ends: list[int] = [0]  # of the batches, in events
        self._integers: list[bool] = []  # whether a batch is of whole numbers
        self._counts: Counter[int] = Counter()
        self._first: dict[int, tuple[int, str]] = {}
        self._small = (np.inf, -np.inf)  # the least and the most of the numbers of kind _SMALL

    def add(self, start: int, text: pa.Array | None, keep: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Read the times of the rows from ``start``, and keep some of them.

        ``text`` has [B] values, ``keep`` BOOL [B]; None is as good as nothing in each row.
        Returns the kinds, INT8 [B]: index into ``KINDS``, or ``UNREADABLE``.
        """
        if text is None:
            self._without += int(np.count_nonzero(keep))
            return np.full(len(keep), UNREADABLE, np.int8)
        if self._without:  # none of these events has a time, but each has a place
            self._ticks += bytes(8 * self._without)
            self._without = 0
            self._ends.append(len(self._ticks) // 8)
            self._integers.append(True)
        try:
            ticks = text.cast(pa.int64()).to_numpy()
            kinds, whole = self._kinds(ticks.astype(np.float64)), True
        except pa.ArrowInvalid:
            (kinds, ticks), whole = self._parse_any(text), False
        self._ticks += ticks[keep].data
        self._ends.append(len(self._ticks) // 8)
        self._integers.append(whole)
        for kind, row, count in zip(
            *np.unique(kinds, return_index=True, return_counts=True), strict=True
        ):
            self._counts[int(kind)] += int(count)
            self._first.setdefault(int(kind), (start + int(row), text[int(row)].as_py()))
        return kinds

    @property
    def usual(self) -> int:
        """The most frequent readable kind, on a tie the first one; or ``UNREADABLE``."""
        counts = self._readable()
        return min(counts, key=lambda kind: (-counts[kind], self._first[kind]), default=UNREADABLE)

    def odd(self) -> tuple[int, str, int, int] | None:
        """Return row, text and kind of the first time that is not of the usual kind.

        The last number says how many there are. Times that cannot be read do not count.
        """
        counts = self._readable()
        odd = counts.keys() - {self.usual}
        if not odd:
            return None
        kind = min(odd, key=self._first.__getitem__)
        return *self._first[kind], kind, sum(counts[kind] for kind in odd)

    def is_usual(self, kinds: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Which of these kinds are read as the usual one is."""
        usual = self.usual
        same: NDArray[np.bool_] = kinds == usual
        return same | (kinds == _EITHER) if usual in (_DAY_FIRST, _MONTH_FIRST) else same

    @property
    def is_counter(self) -> bool:
        """Whether the numbers say the order of the events and no more."""
        return self.usual == _SMALL and self._small[0] < _COUNTER

    @property
    def is_sure(self) -> bool:
        """Whether all can be read as times of one kind, and none is a small number."""
        sure = self.usual not in (UNREADABLE, _SMALL) and self.odd() is None
        return sure and UNREADABLE not in self._counts

    def doubt(self) -> tuple[int, str] | None:
        """Why times of one kind are none all the same, and what to do; and a row to show."""
        row, text = self._first.get(self.usual, (0, ""))
        if self.usual == _EITHER:
            return row, (
                f"{text!r} and all others may have the day or the month first; "
                "give --time-format day-first or --time-format month-first"
            )
        if self.usual != _SMALL or self.is_counter:
            return None
        least, most = self._small
        told = f"as Unix seconds the column, from {least:.0f} to {most:.0f}, would be of 1970"
        for low, high, unit, mend in _LIKELY:
            if low <= least and most <= high:
                return row, f"{told}; they look like {unit}: {mend}"
        units = ", ".join(TIME_FORMATS[1:-2])
        return row, f"{told}; name their unit by --time-format (one of {units})"

    def take(self) -> tuple[NDArray[np.int64], int]:
        """Return the times that were kept, and forget them; those of other kinds mean nothing.

        They are ticks, INT64 [E], in the finest unit of the column, for sorting: events within
        one second keep their order. The second value is how many ticks a second has.
        """
        ticks = np.frombuffer(self._ticks, np.int64)
        self._ticks = bytearray()
        usual = self.usual
        if all(self._integers):
            if usual in _PER_SECOND:
                return ticks, _PER_SECOND[usual]
            return _seconds(usual, ticks), 1
        for start, end, whole in zip(self._ends, self._ends[1:], self._integers, strict=False):
            if whole and usual not in (_DAY_FIRST, _MONTH_FIRST, _ISO):
                ticks[start:end] = _microseconds(usual, ticks[start:end].astype(np.float64))
        if usual == _DAY_FIRST:
            ticks = day_first(ticks)
        return ticks, 10**6

    def _readable(self) -> Counter[int]:
        """How many there are of each kind; a date that may be read both ways is as the others."""
        counts = Counter({kind: n for kind, n in self._counts.items() if kind != UNREADABLE})
        sure = [kind for kind in (_DAY_FIRST, _MONTH_FIRST) if counts[kind]]
        if sure:
            counts[max(sure, key=counts.__getitem__)] += counts.pop(_EITHER, 0)
        return +counts

    def _kinds(self, numbers: NDArray[np.float64]) -> NDArray[np.int8]:
        kinds = np.full(len(numbers), UNREADABLE, np.int8)
        if self._form in ("day-first", "month-first"):
            return kinds
        if self._form != "auto":
            kind = KINDS.index(self._form)
            kinds[np.abs(numbers) < _most(kind)] = kind
            return kinds
        small = np.abs(numbers) < _RANGES[0][0]
        kinds[small] = _SMALL
        for kind, (low, high) in enumerate(_RANGES):
            kinds[(numbers >= low) & (numbers < high)] = kind
        for kind, filling in _CALENDAR:
            low, high = 19000101_000000 // filling, 21001231_235959 // filling
            where = np.flatnonzero((numbers >= low) & (numbers <= high))
            where = where[numbers[where] % 1 == 0]
            if len(where):
                valid = calendar(numbers[where].astype(np.int64) * filling)[1]
                kinds[where[valid]] = kind
        rest = numbers[kinds == _SMALL]
        if len(rest):
            self._small = (min(self._small[0], rest.min()), max(self._small[1], rest.max()))
        return kinds

    def _parse_any(self, text: pa.Array) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """Read fractions, ISO text and dates: kinds and microseconds.

        Those of which the day or the month may come first have the month first.
        """
        kinds = np.full(len(text), UNREADABLE, np.int8)
        ticks = np.zeros(len(text), np.int64)
        where = _matches(text, _NUMBER)
        numbers = text.filter(where).cast(pa.float64()).to_numpy()
        kinds[where] = found = self._kinds(numbers)
        for kind in np.unique(found[found != UNREADABLE]).tolist():
            ticks[np.flatnonzero(where)[found == kind]] = _microseconds(
                kind, numbers[found == kind]
            )
        is_text = _matches(text, AS_TEXT)
        if self._form == "auto":
            ticks[is_text], good = text_times(text.filter(is_text))
            kinds[is_text] = np.where(good, _ISO, UNREADABLE)
        rest = np.flatnonzero(~where & ~is_text)
        if len(rest) and self._form in ("auto", "day-first", "month-first"):
            kinds[rest], ticks[rest] = self._parse_days(text.take(pa.array(rest)))
        return kinds, ticks

    def _parse_days(self, text: pa.Array) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        ticks, as_month, as_day, dotted = day_and_month(text)
        as_month &= ~dotted if self._form == "auto" else self._form == "month-first"
        as_day &= self._form != "month-first"
        kinds = np.full(len(text), UNREADABLE, np.int8)
        kinds[as_day] = _DAY_FIRST
        kinds[as_month] = _MONTH_FIRST
        kinds[as_month & as_day] = _EITHER
        return kinds, ticks


def _matches(text: pa.Array, pattern: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.match_substring_regex(text, pattern).to_numpy(
        zero_copy_only=False
    )
    return found


def _most(kind: int) -> float:
    """Of a unit that was asked for, the first number beyond what INT64 and a calendar can say."""
    return min(2.5e11 / _SECONDS.get(kind, 1) * _PER_SECOND.get(kind, 1), 9.2e18)


def _seconds(kind: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of whole numbers of a kind that is not finer than a second."""
    if kind in _SECONDS:
        found: NDArray[np.int64] = numbers * _SECONDS[kind]
        return found
    return calendar(numbers * dict(_CALENDAR)[kind])[0]


def _microseconds(kind: int, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    if kind in dict(_CALENDAR):
        found: NDArray[np.int64] = _seconds(kind, numbers.astype(np.int64)) * 10**6
    else:
        unit = _SECONDS.get(kind, 1) / _PER_SECOND.get(kind, 1)
        found = np.rint(numbers * unit * 1e6).astype(np.int64)
    return found
