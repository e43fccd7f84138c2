from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from builder.data import Columns, DataConfig, Sequences, leave_one_out, read
from builder.data.problems import SHOWN_PER_KIND
from builder.errors import DataError

Write = Callable[..., Path]

ITEMS = "item_id,title,year\n1,Löwe,1995\n2,Zebra,1996\n3,Ape,\n"
LOG = "user_id,item_id,timestamp\nb,3,200\na,1,100\nb,1,100\na,2,50\n"


def problems_of(config: DataConfig) -> list[str]:
    """What is wrong, where, without the advice that ends each line."""
    heading, *lines = report_of(config)
    assert re.fullmatch(r"[\d,]+ problems? in the data:", heading)
    assert all("; " in line for line in lines)
    return [line.rpartition("; ")[0] for line in lines]


def report_of(config: DataConfig) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(config)
    return str(caught.value).replace(f"{config.directory}/", "").splitlines()


def test_movielens_100k(movielens: Path) -> None:
    interactions, catalogue = read(DataConfig(movielens, min_rating=4, min_events=8))
    split = leave_one_out(Sequences.from_interactions(interactions, min_events=8))
    assert len(split.test) == len(split.validation) == len(split.train) == 920
    assert len(catalogue) == 1682
    assert catalogue.texts[0] == "Toy Story (1995) Animation Children's Comedy"
    assert catalogue.columns["movie_title"][0] == "Toy Story"
    assert "Cérémonie, La (1995) Drama" in catalogue.texts  # accents, case and order as they are
    assert catalogue.index["1682"] == 1681
    raw = pd.read_csv(movielens / "ml-100k.inter", sep="\t")
    raw.columns = ["user", "item", "rating", "time"]
    liked = raw["rating"] >= 4
    kept = liked.groupby(raw["user"]).transform("sum") >= 8
    assert len(interactions) == kept.sum()
    assert interactions.target is not None
    assert interactions.target.sum() == (kept & liked).sum()
    raw = raw[kept & liked]
    expected = raw.sort_values("time", kind="stable").groupby("user")["item"].last()
    for user, target in zip(split.test.histories.user_ids, split.test.targets, strict=True):
        assert catalogue.item_ids[target] == str(expected[int(user)])


def test_csv_is_sorted_by_user_of_first_appearance_then_time(write: Write) -> None:
    interactions, catalogue = read(DataConfig(write(interactions__csv=LOG, items__csv=ITEMS)))
    assert interactions.user_ids == ["b", "a"]
    assert interactions.user.tolist() == [0, 0, 1, 1]
    assert [catalogue.item_ids[item] for item in interactions.item] == ["1", "3", "2", "1"]
    assert interactions.time is not None
    assert interactions.time.tolist() == [100, 200, 50, 100]
    assert interactions.action is None
    assert interactions.actions == []
    assert interactions.user.dtype == interactions.item.dtype == np.int32
    assert interactions.time.dtype == np.int64
    assert catalogue.texts == ["Löwe", "Zebra", "Ape"]  # the year is a number, so not text
    assert catalogue.columns["year"].tolist() == ["1995", "1996", ""]


def test_recbole_atomic_files(write: Write) -> None:
    directory = write(
        x__inter="user_id:token\titem_id:token\trating:float\nu\t01\t4.5\nu\t1\t3\n",
        x__item='item_id:token\tname:token_seq\tprice:float\n01\tA "quoted" name\t1\n1\tOther\t2\n',
        x__user="user_id:token\tage:token\nu\t30\n",
    )
    interactions, catalogue = read(DataConfig(directory))
    assert catalogue.item_ids == ["01", "1"]
    assert catalogue.texts == ['A "quoted" name', "Other"]
    assert interactions.time is None
    assert interactions.item.tolist() == [0, 1]


def test_movielens_csv_splits_the_year_off_the_title(write: Write) -> None:
    directory = write(
        ratings__csv="userId,movieId,rating,timestamp\n1,1,4.0,10\n1,2,3.5,5\n",
        movies__csv="movieId,title,genres\n"
        '1,"Matrix, The (1999)",Action|Sci-Fi\n'
        "2,Fawlty Towers (1975-1979) ,(no genres listed)\n"
        "3,(500) Days,Drama\n",
    )
    interactions, catalogue = read(DataConfig(directory))
    assert catalogue.texts == [
        "Matrix, The (1999) Action Sci-Fi",
        "Fawlty Towers (1975-1979)",
        "(500) Days Drama",
    ]
    assert catalogue.columns["title"].tolist() == ["Matrix, The", "Fawlty Towers", "(500) Days"]
    assert interactions.item.tolist() == [1, 0]


def test_json_lines(write: Write) -> None:
    directory = write(
        log__jsonl='{"who": 1, "what": 10, "at": 1e3}\n\n{"who": 1, "what": "9", "did": "buy"}\n'
        '{"what": 9.50, "who": "1", "at": 7, "did": "click"}\n',
        stock__jsonl='{"sku": 10, "name": "Ten", "tags": ["a", null, "b"]}\n'
        '{"sku": 9, "name": null, "new": true, "tags": ["c"]}\n{"sku": "9.50", "name": "x"}\n',
    )
    config = DataConfig(
        directory,
        interactions="log.jsonl",
        items="stock.jsonl",
        columns=Columns(user="who", item="what", item_key="sku", action="did"),
        text="{name} {tags}",
    )
    interactions, catalogue = read(config)
    assert catalogue.item_ids == ["10", "9", "9.50"]
    assert catalogue.texts == ["Ten a b", "c", "x"]
    assert catalogue.columns["new"].tolist() == ["", "true", ""]
    assert interactions.time is None
    assert interactions.item.tolist() == [0, 1, 2]
    assert interactions.actions == ["buy", "click"]
    assert interactions.action is not None
    assert interactions.action.tolist() == [0, 1, 2]


def test_a_json_key_may_first_appear_late(write: Write) -> None:
    rows = 70_000  # more than are gathered at a time
    log = '{"user_id": "u", "item_id": 1}\n' * rows + '{"action": "x", "user_id": 5, "item_id": 2}'
    directory = write(interactions__jsonl=log, items__csv=ITEMS)
    interactions, _ = read(DataConfig(directory))
    assert interactions.action is not None
    assert interactions.action.tolist() == [0] * rows + [1]
    (directory / "interactions.jsonl").write_text(log.replace(": 2}", ": 8}"))
    assert problems_of(DataConfig(directory)) == [
        f"interactions.jsonl:{rows + 1}: item_id: item '8' is not in items.csv"
    ]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris"])
def test_parquet_keeps_ids_and_reads_typed_times(tmp_path: Path, zone: str | None) -> None:
    times = pd.to_datetime(["2024-05-01 12:30:00.75", "2024-05-01 12:30:00.25"]).tz_localize(zone)
    log = pd.DataFrame({"user_id": ["u", "u"], "item_id": [1.0, 2.0], "timestamp": times})
    log.to_parquet(tmp_path / "interactions.parquet")
    items = pa.table(
        {
            "item_id": pa.array([1, 2, None]).fill_null(3),
            "title": pa.array(["one", "two", "one"]).dictionary_encode(),
            "genres": [["a", "b"], [], None],
            "year": [1995.0, None, 1996.0],
        }
    )
    pyarrow.parquet.write_table(items, tmp_path / "items.parquet")
    interactions, catalogue = read(DataConfig(tmp_path, text="{title} ({year}) {genres}"))
    assert catalogue.item_ids == ["1", "2", "3"]
    assert catalogue.texts == ["one (1995) a b", "two", "one (1996)"]
    assert interactions.item.tolist() == [1, 0]  # in order within one second
    assert interactions.time is not None
    assert interactions.time.tolist() == [int(times[0].timestamp())] * 2


@pytest.mark.parametrize(
    "times",
    [
        ("1714566600", "1714566601"),
        ("1714566600.5", "1714566601"),
        ("1714566600000", "1714566601999"),
        ("1714566600000000", "1714566601000001"),
        ("1714566600000000000", "1714566601000000001"),
        ("2024-05-01T12:30:00Z", "2024-05-01T14:30:01+02:00"),
        ("2024-05-01 12:30:00", "2024-05-01 12:30:01.250"),
        ("1.7145666e9", "1.714566601e9"),
    ],
)
def test_times_of_every_kind_become_unix_seconds(write: Write, times: tuple[str, str]) -> None:
    log = f"user_id,item_id,timestamp\nu,1,{times[1]}\nu,2,{times[0]}\n"
    interactions, _ = read(DataConfig(write(interactions__csv=log, items__csv=ITEMS)))
    assert interactions.time is not None
    assert interactions.time.tolist() == [1714566600, 1714566601]
    assert interactions.item.tolist() == [1, 0]


def test_times_before_1970(write: Write) -> None:
    log = "user_id,item_id,timestamp\nu,1,-1.5\nu,2,-2\n"
    interactions, _ = read(DataConfig(write(interactions__csv=log, items__csv=ITEMS)))
    assert interactions.time is not None
    assert interactions.time.tolist() == [-2, -2]
    assert interactions.item.tolist() == [1, 0]


def test_mixed_times_name_the_first_odd_line(write: Write) -> None:
    rows = "u,1,1714566600\nu,2,1714566601\nu,3,1714566600000\nu,1,1714566602\nu,2,2024-05-01\n"
    directory = write(interactions__csv=f"user_id,item_id,timestamp\n{rows}", items__csv=ITEMS)
    assert problems_of(DataConfig(directory)) == [
        (
            "interactions.csv:4: timestamp: '1714566600000' looks like milliseconds, "
            "but most of the column is seconds (2 rows differ)"
        )
    ]


def test_equal_times_keep_the_order_of_the_file(write: Write) -> None:
    rows = "".join(f"u,{item},7\n" for item in (3, 1, 2, 2, 1))
    directory = write(interactions__csv=f"user_id,item_id,timestamp\n{rows}", items__csv=ITEMS)
    interactions, _ = read(DataConfig(directory))
    assert interactions.item.tolist() == [2, 0, 1, 1, 0]


def test_every_problem_at_once(write: Write) -> None:
    directory = write(
        interactions__csv=b"user_id,item_id,rating,timestamp\n"
        b"u,1,5,100\n"
        b"u,9,4,yesterday\n"
        b"\xe9,1,four,2024-13-01\n"
        b",1,3,101\n"
        b"u,1,3\n"
        b"u,,nan,102\n",
        items__csv='item_id,title\n1,"two\nlines"\n2,\n1,again\n,nameless\n',
        users__csv="user_id,group\nu,A\nu,B\n",
    )
    assert problems_of(DataConfig(directory, min_rating=3, profile=("group",))) == [
        "items.csv:6: item_id: the value is missing",
        "items.csv:5: item_id: '1' was already given at items.csv:2",
        "items.csv:4: title: item '2' has no text",
        "users.csv:3: user_id: 'u' was already given at users.csv:2",
        "interactions.csv:4: byte 0xe9 at offset 59 of the file is not UTF-8",
        "interactions.csv:6: 3 values where the header has 4 columns",
        "interactions.csv:5: user_id: the value is missing",
        "interactions.csv:7: item_id: the value is missing",
        "interactions.csv:3: item_id: item '9' is not in items.csv",
        "interactions.csv:3: timestamp: 'yesterday' is no time of 1970 to 2100",
        "interactions.csv:4: timestamp: '2024-13-01' is no time of 1970 to 2100",
        "interactions.csv:4: rating: 'four' is no number, which the minimum rating needs",
        "interactions.csv:7: rating: 'nan' is no number, which the minimum rating needs",
    ]


def test_many_problems_of_a_kind_are_counted(write: Write) -> None:
    rows = "".join(f"u,{9 + row},{row}\n" for row in range(1000))
    directory = write(interactions__csv=f"user_id,item_id,timestamp\n{rows}", items__csv=ITEMS)
    found = report_of(DataConfig(directory))
    assert found[0] == "1,000 problems in the data:"
    assert len(found) == 1 + SHOWN_PER_KIND + 1
    assert found[1].startswith("interactions.csv:2: item_id: item '9' ")
    assert found[-1] == "... and 980 more: events with items that are not known"


def test_missing_columns_of_both_files(write: Write) -> None:
    directory = write(interactions__csv="who,item_id\nu,1\n", items__csv="code,title\n1,a\n2,b\n")
    assert problems_of(DataConfig(directory, min_rating=1)) == [
        "items.csv:1: item_id: there is no such column",
        "interactions.csv:1: user_id: there is no such column",
        "interactions.csv:1: rating: there is no such column",
    ]


def test_a_column_that_was_named_must_exist(write: Write) -> None:
    directory = write(interactions__csv=LOG, items__csv=ITEMS)
    columns = Columns(time="when", action="did")
    assert problems_of(DataConfig(directory, columns=columns)) == [
        "interactions.csv:1: when: there is no such column",
        "interactions.csv:1: did: there is no such column",
    ]


def test_an_unknown_template_column_lists_the_columns(write: Write) -> None:
    directory = write(interactions__csv=LOG, items__csv=ITEMS)
    line = report_of(DataConfig(directory, text="{titel} {year}"))[1]
    assert line.startswith("items.csv:1: titel: the text template names this column")
    assert line.endswith("the columns are item_id, title, year")


def test_json_lines_problems(write: Write) -> None:
    directory = write(
        interactions__jsonl='\n{"user_id": 1, "item_id": 1}\n[1]\n{"user_id":\n"text"\n'
        '{"user_id": 1, "item_id": 7}\n',
        items__csv=ITEMS,
    )
    assert problems_of(DataConfig(directory)) == [
        "interactions.jsonl:3: not a JSON object",
        "interactions.jsonl:4: not valid JSON (Expecting value at character 13)",
        "interactions.jsonl:5: not a JSON object",
        "interactions.jsonl:6: item_id: item '7' is not in items.csv",
    ]


def test_parquet_problems_name_rows(tmp_path: Path) -> None:
    log = pa.table({"user_id": ["u", "u"], "item_id": [1, 4], "timestamp": [1, 2]})
    pyarrow.parquet.write_table(log, tmp_path / "interactions.parquet")
    bad = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"okn\xff")],
    )
    items = pa.table({"item_id": [1, 2], "title": bad})
    pyarrow.parquet.write_table(items, tmp_path / "items.parquet")
    assert problems_of(DataConfig(tmp_path)) == [
        "items.parquet:row 2: title: byte 0xff at offset 1 of the value is not UTF-8",
        "interactions.parquet:row 2: item_id: item '4' is not in items.parquet",
    ]


@pytest.mark.parametrize(
    ("log", "items", "message"),
    [
        ("", ITEMS, "interactions.csv:1: the file is empty"),
        ("user_id,item_id\n", ITEMS, "interactions.csv: there are no events"),
        ("user_id,item_id", ITEMS, "interactions.csv: there are no events"),
        (LOG, "item_id,title\n", "items.csv: 0 items where recommending needs at least 2"),
        ("user_id,item_id\nu,1\n", "item_id,title\n1,a\n", "items.csv: 1 items"),
        ("user_id,item_id\nu,1\n", "item_id,n\n1,1\n2,2\n", "items.csv:1: no column holds text"),
        ("user_id,item_id,user_id\n", ITEMS, "interactions.csv:1: user_id: several columns"),
    ],
)
def test_too_little_data(write: Write, log: str, items: str, message: str) -> None:
    found = problems_of(DataConfig(write(interactions__csv=log, items__csv=items)))
    assert any(line.startswith(message) for line in found), found


def test_filters_count_after_the_minimum_rating(write: Write) -> None:
    log = "user_id,item_id,rating\na,1,5\na,2,3.9\nb,1,4\nb,2,4.0\nb,1,5\nc,1,1\n"
    directory = write(interactions__csv=log, items__csv=ITEMS)
    interactions, _ = read(DataConfig(directory, min_rating=4, min_events=2))
    assert interactions.user_ids == ["b"]
    assert interactions.item.tolist() == [0, 1, 0]  # a repeated event stays
    found = problems_of(DataConfig(directory, min_rating=4, min_events=9))
    assert "none of the 6 events is left" in found[0]


def test_a_byte_order_mark_quotes_and_blank_lines(write: Write) -> None:
    log = '\ufeff"user_id","item_id"\r\n\r\n"a,""b""",1\r\n'
    directory = write(interactions__csv=log, items__csv=ITEMS)
    assert read(DataConfig(directory))[0].user_ids == ['a,"b"']


def test_items_may_be_named_as_what_is_missing(write: Write) -> None:
    directory = write(
        interactions__csv="user_id,item_id\nu,NA\n",
        items__csv="item_id,title\nNA,null\nnan,N/A\n",
    )
    interactions, catalogue = read(DataConfig(directory))
    assert interactions.item.tolist() == [0]
    assert catalogue.texts == ["null", "N/A"]


@pytest.mark.parametrize("word", ["NULL", r"\N", "nan", "None", "<NA>"])
def test_nobody_is_named_as_what_is_missing(write: Write, word: str) -> None:
    directory = write(
        interactions__csv=f"user_id,item_id\nu,1\n{word},1\nu,{word}\n", items__csv=ITEMS
    )
    missing = f"the value is missing ({word} stands for that)"
    user, item = problems_of(DataConfig(directory))
    assert f"interactions.csv:3: user_id: {missing}" in user
    assert f"interactions.csv:4: item_id: {missing}" in item
    interactions, _ = read(DataConfig(directory, on_bad_rows="drop"))
    assert (interactions.user_ids, interactions.item.tolist()) == (["u"], [0])


def test_which_files(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such directory"):
        read(DataConfig(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no file for the interactions .*holds nothing"):
        read(DataConfig(tmp_path))
    directory = write(interactions__csv=LOG, interactions__tsv="", items__csv=ITEMS, log__xls="")
    with pytest.raises(DataError, match=r"several files .*interactions.csv, interactions.tsv"):
        read(DataConfig(directory))
    with pytest.raises(DataError, match=r"absent.csv: no such file; the directory holds"):
        read(DataConfig(directory, interactions="absent.csv"))
    with pytest.raises(DataError, match=r"the suffix '.xls' is not known"):
        read(DataConfig(directory, interactions="log.xls"))
    assert len(read(DataConfig(directory, interactions="interactions.csv"))[0]) == 4


def test_not_parquet_at_all(write: Write) -> None:
    directory = write(interactions__csv=LOG, items__parquet="text")
    assert problems_of(DataConfig(directory))[0].startswith("items.parquet: cannot be read")
