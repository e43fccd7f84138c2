"""Recognises times: Unix seconds, milliseconds, microseconds, nanoseconds, or ISO 8601 text."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

KINDS: Final = ("seconds", "milliseconds", "microseconds", "nanoseconds", "ISO text")
UNREADABLE: Final = -1

_ISO: Final = 4
_PER_SECOND: Final = (1, 10**3, 10**6, 10**9)
# A number this large is no longer of the unit at this position: 10^11 seconds is the year 5138,
# 10^11 milliseconds is 1973. The last bound is where INT64 ends.
_BOUNDS: Final = (1e11, 1e14, 1e17, 9.2e18)
_NUMBER: Final = r"^-?\d+(\.\d*)?([eE][+-]?\d+)?$"
_ISO_DATE: Final = r"^\d{4}-\d{2}-\d{2}"


class TimeColumn:
    """Reads a column of times, a batch after the other; the unit of a number follows from its size.

    A column of whole numbers is kept as they are. One that has anything else is in microseconds,
    those of its batches too that are of whole numbers.
    """

    def __init__(self) -> None:
        self._ticks = bytearray()  # INT64, in place: joining arrays would take them twice
        self._ends: list[int] = [0]  # of the batches, in events
        self._integers: list[bool] = []  # whether a batch is of whole numbers
        self._counts: Counter[int] = Counter()
        self._first: dict[int, tuple[int, str]] = {}

    def add(self, start: int, text: pa.Array | None, keep: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Read the times of the rows from ``start``, and keep some of them.

        ``text`` has [B] values, ``keep`` BOOL [B]; None is as good as nothing in each row.
        Returns the kinds, INT8 [B]: index into ``KINDS``, or ``UNREADABLE``.
        """
        if text is None:
            return np.broadcast_to(np.int8(UNREADABLE), len(keep))
        try:
            ticks = text.cast(pa.int64()).to_numpy()
            kinds, whole = _units(ticks.astype(np.float64)), True
        except pa.ArrowInvalid:
            (kinds, ticks), whole = _parse_any(text), False
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
        readable = self._counts.keys() - {UNREADABLE}
        return min(
            readable, key=lambda kind: (-self._counts[kind], self._first[kind]), default=UNREADABLE
        )

    def odd(self) -> tuple[int, str, int, int] | None:
        """Return row, text and kind of the first time that is not of the usual kind.

        The last number says how many there are. Times that cannot be read do not count.
        """
        odd = self._counts.keys() - {UNREADABLE, self.usual}
        if not odd:
            return None
        kind = min(odd, key=self._first.__getitem__)
        return *self._first[kind], kind, sum(self._counts[kind] for kind in odd)

    def take(self) -> tuple[NDArray[np.int64], int]:
        """Return the times that were kept, and forget them; all read must be of one kind.

        They are ticks, INT64 [E], in the finest unit of the column, for sorting: events within
        one second keep their order. The second value is how many ticks a second has.
        """
        ticks = np.frombuffer(self._ticks, np.int64)
        self._ticks = bytearray()
        if all(self._integers):
            return ticks, _PER_SECOND[self.usual]
        for start, end, whole in zip(self._ends, self._ends[1:], self._integers, strict=False):
            if whole:
                ticks[start:end] = _microseconds(ticks[start:end].astype(np.float64))[1]
        return ticks, 10**6


def _units(numbers: NDArray[np.float64]) -> NDArray[np.int8]:
    units = np.searchsorted(_BOUNDS, np.abs(numbers), side="right").astype(np.int8)
    units[units == len(_BOUNDS)] = UNREADABLE
    return units


def _microseconds(
    numbers: NDArray[np.float64],
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    units = _units(numbers)
    per_second = np.array([*_PER_SECOND, 1], np.float64)[units]  # the last is for UNREADABLE
    microseconds = np.where(units == UNREADABLE, 0, numbers / per_second * 1e6)
    return units, np.rint(microseconds).astype(np.int64)


def _parse_any(text: pa.Array) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Read fractions and ISO text: kinds and microseconds."""
    kinds = np.full(len(text), UNREADABLE, np.int8)
    ticks = np.zeros(len(text), np.int64)
    is_number = pc.match_substring_regex(text, _NUMBER)
    is_iso = pc.match_substring_regex(text, _ISO_DATE)

    numbers = text.filter(is_number).cast(pa.float64()).to_numpy()
    where = is_number.to_numpy(zero_copy_only=False)
    kinds[where], ticks[where] = _microseconds(numbers)

    dates = pd.to_datetime(
        pd.Series(text.filter(is_iso).to_pylist(), dtype=object),
        format="ISO8601",
        utc=True,
        errors="coerce",
    )
    where = is_iso.to_numpy(zero_copy_only=False)
    kinds[where] = np.where(dates.isna(), UNREADABLE, _ISO)
    ticks[where] = pd.DatetimeIndex(dates).as_unit("us").asi8
    return kinds, ticks
