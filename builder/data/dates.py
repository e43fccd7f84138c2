"""Dates as text and as digits: ISO 8601, US, European, and YYYYMMDDhhmmss."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ISO_START: Final = r"^\s*\d{4}[-/]\d{2}[-/]\d{2}"
_OTHER_THAN_ISO: Final = r"/|\s[+-]|[A-Z]$|^\s|\s$"
_UTC: Final = r"\s*(UTC|GMT|Z)$"
_AS_ISO: Final = (
    (_UTC, ""),
    (r"^(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3"),
    (r"\s+([+-]\d{2}:?\d{2})$", r"\1"),
)
_DAY_AND_MONTH: Final = (
    r"^(?P<a>\d{1,2})(?P<mark>[/.-])(?P<b>\d{1,2})[/.-](?P<y>\d{4})"
    r"(?:,?[ T]+(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:\.\d+)?)?\s*(?P<half>[AaPp][Mm])?)?$"
)
_1970_TO_2100: Final = (0, 4_102_444_800)


def iso_times(text: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Microseconds of texts that begin like ISO 8601, and which of them are a time."""
    if pc.any(pc.match_substring_regex(text, _OTHER_THAN_ISO)).as_py():
        text = pc.utf8_trim_whitespace(text)
        for pattern, iso in _AS_ISO:
            text = pc.replace_substring_regex(text, pattern, iso)
    dates = pd.to_datetime(
        pd.Series(text.to_pylist(), dtype=object), format="ISO8601", utc=True, errors="coerce"
    )
    microseconds = pd.DatetimeIndex(dates).as_unit("us").asi8
    good = ~dates.isna().to_numpy() & _is_plausible(microseconds // 10**6)
    return np.where(good, microseconds, 0), good


def day_and_month(
    text: pa.Array,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Microseconds of dates such as 3/4/2023, and which may have the month first, or the day.

    Where the month can come first, it does so in the microseconds; `day_first` changes that. The
    last array says which are written with dots, as is only done where the day comes first.
    """
    text = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), _UTC, "")
    fields = pc.extract_regex(text, _DAY_AND_MONTH)
    found = fields.is_valid().to_numpy(zero_copy_only=False)

    def texts(name: str) -> pa.Array:
        return pc.fill_null(pc.struct_field(fields, name), "")

    def number(name: str) -> NDArray[np.int64]:
        digits = texts(name)
        whole: NDArray[np.int64] = (
            pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.int64()).to_numpy()
        )
        return whole

    first, second, year = number("a"), number("b"), number("y")
    half = pc.utf8_lower(texts("half")).to_numpy(zero_copy_only=False)
    hour = number("h")
    hour = np.where(half == "", hour, hour % 12 + 12 * (half == "pm"))
    clock = hour * 10_000 + number("m") * 100 + number("s")
    ways = [
        calendar((year * 10_000 + month * 100 + day) * 10**6 + clock)
        for month, day in ((first, second), (second, first))
    ]
    (by_month, month_first), (by_day, day_first) = (
        (seconds, valid & found & _is_plausible(seconds)) for seconds, valid in ways
    )
    ticks = np.where(month_first, by_month, by_day) * 10**6
    dotted: NDArray[np.bool_] = texts("mark").to_numpy(zero_copy_only=False) == "."
    return ticks, month_first, day_first, dotted


def day_first(ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Microseconds whose dates had the month first, where they could, with the day first."""
    date = (ticks // 10**6 // 86_400).astype("datetime64[D]")
    months = date.astype("datetime64[M]")
    day = (date - months).astype(np.int64)  # from 0
    month = months.astype(np.int64) % 12
    swapped = (months - month + day).astype("datetime64[D]") + month
    moved = (swapped - date).astype(np.int64) * 86_400 * 10**6
    found: NDArray[np.int64] = ticks + np.where(day < 12, moved, 0)
    return found


def calendar(digits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Unix seconds of YYYYMMDDhhmmss, and which of them are a date and a time of day."""
    year, month, day = digits // 10**10, digits // 10**8 % 100, digits // 10**6 % 100
    hour, minute, second = digits // 10**4 % 100, digits // 100 % 100, digits % 100
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    date = first.astype("datetime64[D]") + (day - 1)
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (date.astype("datetime64[M]") == first)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    return date.astype(np.int64) * 86_400 + hour * 3600 + minute * 60 + second, valid


def _is_plausible(seconds: NDArray[np.int64]) -> NDArray[np.bool_]:
    low, high = _1970_TO_2100
    return (seconds >= low) & (seconds < high)
