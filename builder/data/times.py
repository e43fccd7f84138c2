"""Recognises times: Unix seconds, milliseconds, microseconds, nanoseconds, or ISO 8601 text."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Times:
    """A column of times.

    Attributes
    ----------
    kinds
        INT8 [E], index into ``KINDS``, or ``UNREADABLE``.
    ticks
        INT64 [E], in the finest unit of the column, for sorting: events within one second keep
        their order. Meaningless unless ``kinds`` is the same everywhere.
    per_second
        Ticks in a second.
    """

    kinds: NDArray[np.int8]
    ticks: NDArray[np.int64]
    per_second: int

    @property
    def seconds(self) -> NDArray[np.int64]:
        """INT64 [E], Unix seconds, rounded down."""
        return self.ticks if self.per_second == 1 else self.ticks // self.per_second

    @property
    def usual(self) -> int:
        """The most frequent readable kind, on a tie the one met first; or ``UNREADABLE``."""
        kinds, first, counts = np.unique(self.kinds, return_index=True, return_counts=True)
        readable = [
            (-count, position, kind)
            for kind, position, count in zip(kinds, first, counts, strict=True)
            if kind != UNREADABLE
        ]
        return int(min(readable)[2]) if readable else UNREADABLE


def parse_times(text: pa.ChunkedArray) -> Times:
    """Read times from text; the unit of a number follows from its size."""
    try:
        whole = text.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return _parse_any(text)
    kinds = _units(whole.astype(np.float64))
    unit = int(kinds[0]) if len(kinds) else 0
    return Times(kinds, whole, _PER_SECOND[unit] if unit >= 0 else 1)


def _units(numbers: NDArray[np.float64]) -> NDArray[np.int8]:
    units = np.searchsorted(_BOUNDS, np.abs(numbers), side="right").astype(np.int8)
    units[units == len(_BOUNDS)] = UNREADABLE
    return units


def _parse_any(text: pa.ChunkedArray) -> Times:
    """Read fractions and ISO text, in microseconds."""
    kinds = np.full(len(text), UNREADABLE, np.int8)
    ticks = np.zeros(len(text), np.int64)
    is_number = pc.match_substring_regex(text, _NUMBER)
    is_iso = pc.match_substring_regex(text, _ISO_DATE)

    numbers = text.filter(is_number).cast(pa.float64()).to_numpy()
    units = _units(numbers)
    per_second = np.array([*_PER_SECOND, 1], np.float64)[units]  # the last is for UNREADABLE
    microseconds = np.where(units == UNREADABLE, 0, numbers / per_second * 1e6)
    where = is_number.to_numpy()
    kinds[where] = units
    ticks[where] = np.rint(microseconds)

    dates = pd.to_datetime(
        pd.Series(text.filter(is_iso).to_pylist(), dtype=object),
        format="ISO8601",
        utc=True,
        errors="coerce",
    )
    where = is_iso.to_numpy()
    kinds[where] = np.where(dates.isna(), UNREADABLE, _ISO)
    ticks[where] = pd.DatetimeIndex(dates).as_unit("us").asi8
    return Times(kinds, ticks, 10**6)
