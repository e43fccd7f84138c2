"""Dates as text and as digits: ISO 8601, with month names, US, European, and YYYYMMDDhhmmss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_YEAR_FIRST: Final = r"^\s*\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(\D|$)"
_MONTHS: Final = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_MONTH_NAMED: Final = rf"(?i)^.*\d.*\b({_MONTHS})|\b({_MONTHS})[a-z]*\b.*\d"
_MONTH_DAY_YEAR: Final = r"^\s*\d{1,2} \d{1,2}, \d{4}$"  # Amazon's 04 23, 2014
AS_TEXT: Final = rf"{_YEAR_FIRST}|{_MONTH_NAMED}|{_MONTH_DAY_YEAR}"
"""Of dates that say themselves which number is the year, the month and the day."""
_ISO: Final = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?)?(Z|[+-]\d{2}:?\d{2})?$"
_UTC: Final = r"\s*(UTC|GMT|Z)$"
_HALF: Final = r"\s*(?P<half>[AaPp])\.?[Mm]\.?$"
_ZONES: Final = {"EST": 5, "EDT": 4, "CST": 6, "CDT": 5, "MST": 7, "MDT": 6, "PST": 8, "PDT": 7}
_TH: Final = r"(?:st|nd|rd|th)?"
_AS_ISO: Final = (
    (r"^[\s\[]+|[\s\]]+$", ""),
    (_HALF, ""),
    (r"(?i)^(mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+", ""),
    *((rf"(?i)\b{month}[a-z]*\.?", f"M{number:02}")
      for number, month in enumerate(_MONTHS.split("|"), start=1)),
    (r"\b(\d{1,2})-M", r"\1 M"),
    *((rf"\s*\b{zone}\b", f"-{hours:02}00") for zone, hours in _ZONES.items()),
    # Feb 23 12:26:40 +0000 2012
    (rf"^M(\d\d)\s+(\d{{1,2}}){_TH}\s+([\d:.]+)\s*(?:UTC|GMT|([+-]\d{{4}}))?\s+(\d{{4}})$",
     r"\5-\1-\2 \3\4"),
    (rf"^M(\d\d)[\s-]*(\d{{1,2}}){_TH}[\s,-]+(\d{{4}})\b", r"\3-\1-\2"),
    (r"^(\d{1,2}) (\d{1,2}), (\d{4})$", r"\3-\1-\2"),
    (rf"^(\d{{1,2}}){_TH}[\s/.]*M(\d\d)[\s,/.-]*(\d{{4}})\b", r"\3-\2-\1"),
    (r"^(\d{1,2})[\s/.]*M(\d\d)[\s,/.-]*([0-6]\d)\b", r"20\3-\2-\1"),
    (r"^(\d{1,2})[\s/.]*M(\d\d)[\s,/.-]*([7-9]\d)\b", r"19\3-\2-\1"),
    (r"^(\d{4})[-/.\s]M?(\d{1,2})[-/.\s](\d{1,2})\b", r"\1-\2-\3"),
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d\d)-(\d)(\D|$)", r"\1-0\2\3"),
    (r"^(\d{4}-\d\d-\d\d)(?:[\s,:]|at)+(\d)", r"\1 \2"),
    (r"^(\d{4}-\d\d-\d\d[ T])(\d):", r"\10\2:"),
    (r"(:\d\d),(\d+)", r"\1.\2"),
    (r"\s+([+-]\d{2}:?\d{2})$", r"\1"),
)  # fmt: skip
_DAY_AND_MONTH: Final = (
    r"^(?P<a>\d{1,2})(?P<mark>[/.-])(?P<b>\d{1,2})[/.-](?P<y>\d{4}|\d{2})"
    r"(?:,?[ T]+(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:\.\d+)?)?"
    r"\s*(?:(?P<half>[AaPp])[Mm])?)?$"
)
_MIDNIGHT: Final = r"[ T]0?0:00(:00(\.0+)?)?$"
_DIGITS: Final = r"^(\d{4})(\d{2})(\d{2})$"
_CLOCKS: Final = (  # of digits, as text with colons; of nothing, what is no time
    (r"^(\d{1,2})$", r"\1:00"),
    (r"^(\d{1,2})(\d{2})$", r"\1:\2"),
    (r"^(\d{1,2})(\d{2})(\d{2})$", r"\1:\2:\3"),
    (r"^$", "?"),
)
_BETWEEN: Final = ("-", "-", " ", ":", ":")  # year, month, day, hour, minute
_DATE_AND_CLOCK: Final = 2
_TWO_DIGITS: Final = 100
_PIVOT: Final = 69  # years of two digits are 1969 to 2068, as C and Python have it
_NOON: Final = 12
_1970_TO_2100: Final = (0, 4_102_444_800)


def joined(parts: Sequence[pa.Array]) -> pa.Array:
    """One text of a date and a time of day, or of year, month, day and finer parts."""
    if len(parts) == _DATE_AND_CLOCK:
        return _with_clock(*(pc.utf8_trim_whitespace(part) for part in parts))
    texts = [pc.utf8_lpad(part, 2, "0") for part in parts]
    ends = [*_BETWEEN[: len(parts) - 1], ""]
    return pc.binary_join_element_wise(
        *(each for text, end in zip(texts, ends, strict=True)
          for each in (text, pa.scalar(end, text.type))),
        pa.scalar("", texts[0].type),
    )  # fmt: skip


def days(text: pa.Array) -> pa.Array:
    """Dates without the midnight that spreadsheets write after them."""
    return pc.replace_substring_regex(text, _MIDNIGHT, "")


def _with_clock(date: pa.Array, clock: pa.Array) -> pa.Array:
    date = pc.replace_substring_regex(days(date), _DIGITS, r"\1-\2-\3")
    for pattern, text in _CLOCKS:
        clock = pc.replace_substring_regex(clock, pattern, text)
    return pc.binary_join_element_wise(date, clock, pa.scalar(" ", date.type))


def text_times(text: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Microseconds of texts that are like `AS_TEXT`, and which of them are a time."""
    half = None
    if not pc.all(pc.match_substring_regex(text, _ISO)).as_py():
        text = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), _UTC, "")
        half = pc.fill_null(pc.struct_field(pc.extract_regex(text, _HALF), "half"), "")
        for pattern, iso in _AS_ISO:
            text = pc.replace_substring_regex(text, pattern, iso)
    dates = pd.to_datetime(
        pd.Series(text.to_pylist(), dtype=object), format="ISO8601", utc=True, errors="coerce"
    )
    microseconds = pd.DatetimeIndex(dates).as_unit("us").asi8
    if half is not None:
        hour = microseconds // (3600 * 10**6) % 24
        halves = pc.utf8_lower(half).to_numpy(zero_copy_only=False)
        microseconds = microseconds + (_hour(hour, halves) - hour) * (3600 * 10**6)
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
    mark = texts("mark").to_numpy(zero_copy_only=False)
    found &= (year >= _TWO_DIGITS) | (mark != "-")  # 12-02-23 may have the year first
    year = np.where(year < _TWO_DIGITS, year + np.where(year < _PIVOT, 2000, 1900), year)
    clock = _hour(number("h"), half) * 10_000 + number("m") * 100 + number("s")
    ways = [
        calendar((year * 10_000 + month * 100 + day) * 10**6 + clock)
        for month, day in ((first, second), (second, first))
    ]
    (by_month, month_first), (by_day, day_first) = (
        (seconds, valid & found & _is_plausible(seconds)) for seconds, valid in ways
    )
    ticks = np.where(month_first, by_month, by_day) * 10**6
    dotted: NDArray[np.bool_] = mark == "."
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


def _hour(hour: NDArray[np.int64], half: NDArray[np.object_]) -> NDArray[np.int64]:
    """Of 24, from those of half a day: ``a``, ``p``, or neither."""
    return np.where((half == "") | (hour > _NOON), hour, hour % _NOON + _NOON * (half == "p"))


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
