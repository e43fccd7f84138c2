"""Logs whose rows hold several events, and times that stand in several columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from builder.data import Columns, DataConfig, read
from builder.data.event_lists import list_of
from builder.errors import DataError

Write = Callable[..., Path]

ITEMS = "item_id:token\ttitle:token_seq\n" + "".join(f"{n}\titem {n}\n" for n in range(1, 7))
HEADER = "user_id:token\titem_id_list:token_seq\titem_id:token\n"


def histories(directory: Path, **options: object) -> dict[str, list[str]]:
    log, catalogue = read(DataConfig(directory, **options))  # type: ignore[arg-type]
    found: dict[str, list[str]] = {user: [] for user in log.user_ids}
    for user, item in zip(log.user, log.item, strict=True):
        found[log.user_ids[user]].append(catalogue.item_ids[item])
    return found


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["a\t3 1\t2", "b\t5\t6"], {"a": ["3", "1", "2"], "b": ["5", "6"]}),
        # A row for each prefix; another session of the same user; the same row again.
        (["a\t3\t1", "a\t3 1\t2"], {"a": ["3", "1", "2"]}),
        (["a\t3\t1", "a\t4\t1"], {"a": ["3", "1", "4", "1"]}),
        (["a\t3\t1", "a\t3\t1"], {"a": ["3", "1"]}),
        (["a\t\t1", "a\t1\t2"], {"a": ["1", "2"]}),
    ],
)
def test_sequences(write: Write, rows: list[str], expected: dict[str, list[str]]) -> None:
    directory = write(x__inter=HEADER + "\n".join(rows), x__item=ITEMS)
    assert histories(directory) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # The same basket at a later time is a second purchase, and at the same time a copy.
        (["1 2,1600000000", "1 2,1600000100"], ["1", "2", "1", "2"]),
        (["1 2,1600000000", "1 2,1600000000"], ["1", "2"]),
        # A row that begins with the row before is a history that grew.
        (["1 2,1600000000", "1 2 3,1600000100"], ["1", "2", "3"]),
        (["1 2,1600000000 1600000001", "1 2 3,1600000000 1600000001 1600000002"], ["1", "2", "3"]),
        # ... but not where its items have other times.
        (["1,1600000000", "1 2,1600000100 1600000200"], ["1", "1", "2"]),
        # A time with a space in it is no list of two.
        (["1 2,2020-01-01 10:00:00", "1 2,2020-01-02 10:00:00"], ["1", "2", "1", "2"]),
    ],
)
def test_baskets_are_told_from_histories(
    write: Write, rows: list[str], expected: list[str]
) -> None:
    log = "".join(f"{row}\n" for row in ["user_id,item_ids,timestamp", *(f"a,{r}" for r in rows)])
    directory = write(interactions__csv=log, items__csv="item_id,title\n1,one\n2,two\n3,three\n")
    assert histories(directory) == {"a": expected}


def test_the_same_basket_without_times_is_bought_twice(write: Write) -> None:
    log = "user_id,item_ids\na,1 2\na,1 2\n"
    directory = write(interactions__csv=log, items__csv="item_id,title\n1,one\n2,two\n")
    assert histories(directory) == {"a": ["1", "2", "1", "2"]}


def test_lists_of_times(write: Write) -> None:
    header = "user_id:token\titem_id_list:token_seq\ttimestamp:float_seq\n"
    rows = "a\t3 1\t1700000100 1700000000\nb\t2 4\t1700000000\n"
    directory = write(x__inter=header + rows, x__item=ITEMS)
    assert histories(directory) == {"a": ["1", "3"], "b": ["2", "4"]}
    (directory / "x.inter").write_text(f"{header}a\t3 1 2\t1700000100 1700000000\n")
    with pytest.raises(
        DataError, match=r"x.inter:2: timestamp: '1700000100 1700000000' is no time"
    ):
        read(DataConfig(directory))


TIMES = [1500000100, 1500000000]


def written_as(write: Write, kind: str, times: list[Any]) -> Path:
    if kind == "log.jsonl":
        text = json.dumps({"user_id": "a", "item_ids": ["p1", "p2"], "timestamps": times})
        return write(**{kind: text})
    if kind == "log.csv":
        return write(**{kind: f"user_id,item_ids,event_times\na,p1 p2,{times[0]}|{times[1]}\n"})
    directory = write()
    columns = {"user_id": ["a"], "item_ids": [["p1", "p2"]], "time_list": [times]}
    pyarrow.parquet.write_table(pa.table(columns), directory / kind)
    return directory


@pytest.mark.parametrize("kind", ["log.jsonl", "log.csv", "log.parquet"])
@pytest.mark.parametrize(
    "times", [TIMES, ["2017-07-14 02:41:40", "2017-07-14 02:40:00"]], ids=["numbers", "texts"]
)
def test_lists_of_times_are_found(write: Write, kind: str, times: list[Any]) -> None:
    directory = written_as(write, kind, times)
    assert histories(directory) == {"a": ["p2", "p1"]}
    log, catalogue = read(DataConfig(directory))
    assert log.time is not None
    assert log.time.tolist() == TIMES[::-1]
    assert catalogue.texts == ["p1", "p2"]


def test_lists_of_timestamps(write: Write) -> None:
    times = [datetime.fromtimestamp(each, timezone.utc) for each in TIMES]
    log, _ = read(DataConfig(written_as(write, "log.parquet", times)))
    assert log.time is not None
    assert log.time.tolist() == TIMES[::-1]


def test_faults_are_shown_where_they_stand(write: Write) -> None:
    directory = write(x__inter=HEADER + "a\t3 1\t2\nb\t5 9\t6\nc\t\t\n", x__item=ITEMS)
    with pytest.raises(DataError) as caught:
        read(DataConfig(directory))
    told = str(caught.value).replace(f"{directory}/", "").splitlines()[1:]
    assert [line.partition(";")[0] for line in told] == [
        "x.inter:4: item_id_list: the value is missing",
        "x.inter:3: item_id_list: item '9' is not in x.item",
    ]


def test_a_list_in_a_column_of_another_name_is_noticed(write: Write) -> None:
    directory = write(
        interactions__csv="user_id,item_id\na,1 2\n", items__csv="item_id,title\n1,a\n2,b\n"
    )
    with pytest.raises(
        DataError, match="'1 2' is a list of items; rename the column, as in item_i"
    ):
        read(DataConfig(directory))
    (directory / "interactions.csv").write_text("user_id,item_ids\na,1 2\n")
    assert histories(directory) == {"a": ["1", "2"]}


MIND = """1\tu1\t11/15/2019 9:00:00 AM\tN3 N1\tN2-0 N4-1
2\tu1\t11/14/2019 9:00:00 AM\tN3 N1\tN2-1 N4-0
3\tu2\t11/15/2019 9:00:00 AM\t\tN2-0 N4-0
4\tu3\t11/15/2019 9:00:00 AM\tN2\tN4-0
"""


def test_clicks_and_the_clicks_before_them(write: Write) -> None:
    news = "".join(f"N{n}\tnews\tx\titem {n}\t\thttps://x\t[]\t[]\n" for n in range(1, 5))
    directory = write(behaviors__tsv=MIND, news__tsv=news)
    # The history has no times: it comes before the first click, which is no first row here.
    assert histories(directory) == {"u1": ["N3", "N1", "N2", "N4"], "u3": ["N2"]}
    log, _ = read(DataConfig(directory))
    assert log.time is not None
    assert len(set(log.time[:3])) == 1


@pytest.mark.parametrize(
    ("header", "row", "seconds"),
    [
        ("year,month,day", "2009,2,13", 1234483200),
        ("date_day,date_month,date_year,date_hour,date_minute", "13,2,2009,23,31", 1234567860),
        ("Year,Month,Day,Hour,Minute,Second", "2009,02,13,23,31,30", 1234567890),
        # A date and a time of day.
        ("date,time", "2009-02-13,23:31:30", 1234567890),
        ("Date,Time", "13.02.2009,23:31", 1234567860),
        ("date,time", "20090213,23:31:30.5", 1234567890),
        ("date,time", "2009-02-13 00:00:00,23:31:30", 1234567890),
        ("date,time", "02/13/2009,11:31:30 PM", 1234567890),
        ("order_date,order_time", "2009-02-13,23:31:30", 1234567890),
        # How long something was watched is no time of day, and a date may have one itself.
        ("date,watch_time", "2009-02-13,23:31:30", 1234483200),
        ("date,time", "2009-02-13 10:00:00,23:31:30", 1234519200),
        ("date,time", "2009-02-13,", 1234483200),
    ],
)
def test_times_in_several_columns(write: Write, header: str, row: str, seconds: int) -> None:
    directory = write(
        interactions__csv=f"user_id,item_id,{header}\nu,1,{row}\n",
        items__csv="item_id,title\n1,a\n2,b\n",
    )
    log, _ = read(DataConfig(directory))
    assert log.time is not None
    assert log.time.tolist() == [seconds]


@pytest.mark.parametrize("clock", ["23:31:30", "233130"])
@pytest.mark.parametrize("given", ["bought,at", "bought, at"])
def test_a_date_and_a_time_of_day_are_said_by_name(write: Write, clock: str, given: str) -> None:
    directory = write(
        interactions__csv=f"user_id,item_id,bought,at\nu,1,2009-02-13,{clock}\n",
        items__csv="item_id,title\n1,a\n2,b\n",
    )
    log, _ = read(DataConfig(directory, columns=Columns(time=given)))
    assert log.time is not None
    assert log.time.tolist() == [1234567890]


def test_a_time_of_day_that_is_missing_is_no_midnight(write: Write) -> None:
    directory = write(
        interactions__csv="user_id,item_id,date,time\nu,1,2009-02-13,9:00\nu,2,2009-02-13,\n",
        items__csv="item_id,title\n1,a\n2,b\n",
    )
    with pytest.raises(
        DataError, match=r"interactions.csv:3: date,time: '2009-02-13 \?' is no time"
    ):
        read(DataConfig(directory))
    log, _ = read(DataConfig(directory, columns=Columns(time="date")))
    assert len(log) == 2


def test_a_log_with_a_date_and_a_time_of_day_is_told_from_others(write: Write) -> None:
    directory = write(
        log__csv="user_id,item_id,date,time\nu,1,2009-02-13,9:00\n",
        seen__csv="user_id,item_id\nu,2\n",
        items__csv="item_id,title\n1,a\n2,b\n",
    )
    assert histories(directory) == {"u": ["1"]}


def test_times_in_several_columns_are_said_by_name(write: Write) -> None:
    directory = write(
        interactions__csv="user_id,item_id,anno,mese,giorno\nu,1,2009,2,13\nu,2,2009,2,30\n",
        items__csv="item_id,title\n1,a\n2,b\n",
    )
    with pytest.raises(
        DataError, match=r"interactions.csv:3: anno,mese,giorno: '2009-02-30' is no"
    ):
        read(DataConfig(directory, columns=Columns(time="anno,mese,giorno")))


@pytest.mark.parametrize(
    "listed",
    ["[1, 2]", "['1', '2']", '["1", "2"]', "[1 2]", "1,2", "1|2", "1; 2", "1 2", "(1, 2)"],
)
def test_lists_that_are_written_as_text(write: Write, listed: str) -> None:
    quoted = listed.replace('"', '""')
    log = f'user_id,item_ids\nu,"{quoted}"\n'
    directory = write(interactions__csv=log, items__csv="item_id,title\n1,one\n2,two\n")
    assert read(DataConfig(directory))[0].item.tolist() == [0, 1]


def test_ids_in_lists_may_have_commas(write: Write) -> None:
    directory = write(
        interactions__jsonl='{"user_id": "u", "items": ["a,b", "c"]}\n',
        items__csv='item_id,title\n"a,b",one\nc,two\n',
    )
    assert read(DataConfig(directory))[0].item.tolist() == [0, 1]


NAMES = ["Dark Souls", "Lost, Season 1", "Schindler's List"]


def _json_lines(column: str, values: list[str]) -> bytes:
    row = {"user_id": "u", column: values, "genres": ["Slow Burn", "War"]}
    return json.dumps(row).encode() + b"\n"


def _parquet(column: str, values: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"user_id": ["u"], column: [values], "genres": [["Slow Burn", "War"]]})
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())


def _csv(column: str, values: list[str]) -> bytes:
    rows = pd.DataFrame({"user_id": ["u"], column: [values], "genres": ["Slow Burn War"]})
    return rows.to_csv(index=False).encode()


def _numpy_csv(column: str, values: list[str]) -> bytes:
    return _csv(column, np.array(values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("log.jsonl", _json_lines),
        ("log.parquet", _parquet),
        ("log.csv", _csv),
        ("log.csv", _numpy_csv),
    ],
)
def test_items_of_lists_may_have_spaces_and_commas(
    write: Write, name: str, written: Callable[[str, list[str]], bytes]
) -> None:
    directory = write(**{name: written("history", NAMES)})
    assert histories(directory) == {"u": NAMES}
    # A list that is part of an item's text has spaces, as ever.
    assert read(DataConfig(directory))[1].texts == ["Slow Burn War"] * 3


def test_a_list_of_users_has_spaces(write: Write) -> None:
    directory = write(log__jsonl='{"user_id": ["a", "b"], "items": ["New York", "Rome"]}\n')
    assert histories(directory) == {"a b": ["New York", "Rome"]}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[Dark Souls, 'Lost, Season 1', Heat]", ["Dark Souls", "Lost, Season 1", "Heat"]),
        ('{"Dark Souls",Heat}', ["Dark Souls", "Heat"]),
        ("[rock 'n' roll, Schindler's List]", ["rock 'n' roll", "Schindler's List"]),
        (r"['It\'s', 'C:\\dir', 'a\d', '']", ["It's", r"C:\dir", r"a\d"]),
        (r'["Am\u00e9lie", "\ud83d"]', ["Am\u00e9lie", "?"]),  # half of a character
    ],
)  # fmt: skip
def test_values_in_quotes(text: str, values: list[str]) -> None:
    assert list_of(text) == values
