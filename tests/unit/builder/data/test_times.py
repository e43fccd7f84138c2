"""The forms in which logs write their times, and what is no time though it looks like one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from builder.data import DataConfig, read
from builder.data.times import TimeFormat
from builder.errors import DataError

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,Ape\n2,Zebra\n"


def log_of(times: Sequence[str]) -> str:
    return "user_id,item_id,timestamp\n" + "".join(f'u,1,"{time}"\n' for time in times)


def seconds_of(write: Write, times: Sequence[str], form: TimeFormat = "auto") -> list[int]:
    directory = write(interactions__csv=log_of(times), items__csv=ITEMS)
    interactions, _ = read(DataConfig(directory, time_format=form))
    assert interactions.time is not None
    found: list[int] = interactions.time.tolist()
    return found


def fault_of(write: Write, times: Sequence[str], form: TimeFormat = "auto") -> str:
    with pytest.raises(DataError) as caught:
        seconds_of(write, times, form)
    heading, fault = str(caught.value).splitlines()
    assert heading == "1 problem in the data:"
    return fault.partition("timestamp: ")[2]


def unix(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (("20231115", "20240229"), ((2023, 11, 15), (2024, 2, 29))),
        (("202311150836", "202402292359"), ((2023, 11, 15, 8, 36), (2024, 2, 29, 23, 59))),
        (
            ("20231115083602", "20240229235959"),
            ((2023, 11, 15, 8, 36, 2), (2024, 2, 29, 23, 59, 59)),
        ),
        (
            ("2023-11-15 08:36:02 UTC", "2023-11-15 22:39:48 UTC"),
            ((2023, 11, 15, 8, 36, 2), (2023, 11, 15, 22, 39, 48)),
        ),
        (
            ("2023-11-15T08:36:02.5 GMT", "2023-11-15 22:39:48 +0000"),
            ((2023, 11, 15, 8, 36, 2), (2023, 11, 15, 22, 39, 48)),
        ),
        (
            ("2023-11-15 08:36:02 +0000 UTC", "2023-11-15 22:39:48Z"),
            ((2023, 11, 15, 8, 36, 2), (2023, 11, 15, 22, 39, 48)),
        ),
        (("2023/11/15 08:36:02", "2023/11/16"), ((2023, 11, 15, 8, 36, 2), (2023, 11, 16))),
        # The American 11/15 and the European 15/11: one such date settles the column.
        (("3/4/2023", "11/15/2023"), ((2023, 3, 4), (2023, 11, 15))),
        (("03/04/2023", "15/11/2023"), ((2023, 4, 3), (2023, 11, 15))),
        (
            ("4/3/2023 12:30:01 AM", "11/15/2023, 1:05 pm"),
            ((2023, 4, 3, 0, 30, 1), (2023, 11, 15, 13, 5)),
        ),
        (
            ("03-04-2023 08:36", "31-12-2023 08:36:02.25 UTC"),
            ((2023, 4, 3, 8, 36), (2023, 12, 31, 8, 36, 2)),
        ),
        (("03.04.2023", "04.05.2023"), ((2023, 4, 3), (2023, 5, 4))),  # a dot is never American
        (("04 Apr 2012 18:00", "2 May 2006"), ((2012, 4, 4, 18), (2006, 5, 2))),
        (
            ("Tue Apr 03 18:00:09 +0000 2012", "Tue Apr  3 18:00:09 -0700 2012"),
            ((2012, 4, 3, 18, 0, 9), (2012, 4, 4, 1, 0, 9)),
        ),
        (
            ("Tue Apr 03 18:00:09 PDT 2012", "2012-04-03 18:00:09 EST"),
            ((2012, 4, 4, 1, 0, 9), (2012, 4, 3, 23, 0, 9)),
        ),
        (("April 2, 2012", "May 1st, 2020 at 5:05 pm"), ((2012, 4, 2), (2020, 5, 1, 17, 5))),
        (("04 23, 2014", "04 3, 2014"), ((2014, 4, 23), (2014, 4, 3))),
        (
            ("Tue, 03 Apr 2012 18:00:09 GMT", "[03/Apr/2012:18:00:09 +0000]"),
            ((2012, 4, 3, 18, 0, 9), (2012, 4, 3, 18, 0, 9)),
        ),
        (("03-Apr-12 12:30 AM", "3-Apr-98"), ((2012, 4, 3, 0, 30), (1998, 4, 3))),
        (("4/3/12 18:00", "11/15/98"), ((2012, 4, 3, 18), (1998, 11, 15))),
        (("03.04.12", "31.12.68"), ((2012, 4, 3), (2068, 12, 31))),
        (("2012-4-3", "2012/4/3 8:05"), ((2012, 4, 3), (2012, 4, 3, 8, 5))),
        (
            ("2012.04.03", "2012-04-03 18:00:09,123", "2012-04-03T18:00:09+0530"),
            ((2012, 4, 3), (2012, 4, 3, 18, 0, 9), (2012, 4, 3, 12, 30, 9)),
        ),
    ],
)
def test_dates_are_understood(
    write: Write, times: tuple[str, ...], expected: tuple[tuple[int, ...], ...]
) -> None:
    assert seconds_of(write, times) == sorted(unix(*moment) for moment in expected)


@pytest.mark.parametrize(
    ("form", "times", "expected"),
    [
        ("day-first", ("01/02/2023", "02/03/2023"), [unix(2023, 2, 1), unix(2023, 3, 2)]),
        ("month-first", ("01/02/2023", "02/03/2023"), [unix(2023, 1, 2), unix(2023, 2, 3)]),
        ("month-first", ("01.02.2023", "02.03.2023"), [unix(2023, 1, 2), unix(2023, 2, 3)]),
        ("days", ("19676", "19677"), [19676 * 86_400, 19677 * 86_400]),
        ("days", ("19676.5", "19677"), [19676 * 86_400 + 43_200, 19677 * 86_400]),
        ("hours", ("472222", "472223"), [472222 * 3600, 472223 * 3600]),
        ("minutes", ("28333333", "28333334"), [28333333 * 60, 28333334 * 60]),
        ("seconds", ("1995", "20231115"), [1995, 20231115]),
        ("milliseconds", ("1000", "20231115"), [1, 20231]),
        ("microseconds", ("1700000000000000.5", "1700000001000000"), [1700000000, 1700000001]),
        ("nanoseconds", ("1700000000000000000",), [1700000000]),
    ],
)
def test_what_they_are_can_be_said(
    write: Write, form: TimeFormat, times: tuple[str, ...], expected: list[int]
) -> None:
    assert seconds_of(write, times, form) == expected


@pytest.mark.parametrize(
    ("times", "fault", "mend"),
    [
        (
            ("1995", "2007"),
            "from 1995 to 2007, would be of 1970; they look like years: ",
            "by --column time=NAME",
        ),
        (("19676", "19680"), "like days since 1970: ", "give --time-format days"),
        (
            ("45245.25", "45246"),
            "like dates of a spreadsheet: ",
            "save them as dates such as 2024-05-01 12:30:00",
        ),
        (("472222", "472300"), "like hours since 1970: ", "give --time-format hours"),
        (("28333333", "28400000"), "like minutes since 1970: ", "give --time-format minutes"),
        (
            ("123456", "87654321"),
            "would be of 1970; ",
            (
                "name their unit by --time-format (one of seconds, milliseconds, microseconds, nano"
                "seconds, minutes, hours, days)"
            ),
        ),
        (
            ("01/02/2023", "02/03/2023"),
            "'01/02/2023' and all others may have the day or the month first",
            "give --time-format day-first or --time-format month-first",
        ),
    ],
)
def test_a_column_of_an_unlikely_range_names_the_option(
    write: Write, times: tuple[str, ...], fault: str, mend: str
) -> None:
    found = fault_of(write, times)
    assert fault in found
    assert found.endswith(mend)


@pytest.mark.parametrize(
    "time",
    [
        "5000000000",  # seconds of 2128
        "638356000000000000",  # .NET's ticks
        "133445000000000000",  # Windows' ticks
        "99999999999999999999",
        "1e400",
        "9999-12-31",
        "1899-12-31",
        "11/15/1899",
        "13/13/2023",
        "2023-02-30",
        "30/02/2023",
        "15/11/2023 25:00",
        "12-11-23",  # the year may come first or last
        "30 Feb 2012",
        "Mar 7 days",
        "June 2012",
    ],
)
def test_a_time_that_cannot_be_is_none(write: Write, time: str) -> None:
    found = fault_of(write, ["2023-11-15", time])
    assert found.startswith(f"'{time}' is no time of 1970 to 2100; write Unix seconds or ISO 8601")
    assert found.endswith("say by --time-format what it is, or give --on-bad-rows drop")


@pytest.mark.parametrize(
    ("form", "time"),
    [("day-first", "11/15/2023"), ("month-first", "15/11/2023"), ("seconds", "2023-11-15"),
     ("days", "99999999"), ("day-first", "1700000000")],
)  # fmt: skip
def test_what_is_not_as_was_said_is_no_time(write: Write, form: TimeFormat, time: str) -> None:
    assert fault_of(write, [time], form).startswith(f"'{time}' is no time")


@pytest.mark.parametrize(
    ("times", "odd"),
    [
        (("1700000000", "1700000001", "0"), "'0' looks like numbers too small for a time"),
        (("20231115", "20231116", "20230231"), "'20230231' looks like numbers too small"),
        (
            ("15/11/2023", "16/11/2023", "03/04/2023", "11/15/2023"),
            "'11/15/2023' looks like month-first",
        ),
    ],
)
def test_a_time_unlike_the_others_is_named(write: Write, times: tuple[str, ...], odd: str) -> None:
    found = fault_of(write, times)
    assert found.startswith(odd)
    assert "(1 rows differ)" in found


def test_a_counter_is_an_order(write: Write) -> None:
    assert seconds_of(write, [str(number) for number in range(3, 2000, 500)]) == [
        3, 503, 1003, 1503,
    ]  # fmt: skip
