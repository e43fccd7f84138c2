"""Ids that nearly match, and rows with faults, which are errors or left out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.data import DataConfig, Interactions, read
from builder.data.ids import LikeIds, difference
from builder.errors import DataError

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,Ape\n2,Zebra\n30,Yak\n"


def errors_of(directory: Path, **options: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(DataConfig(directory, **options))
    return str(caught.value).replace(f"{directory}/", "").splitlines()[1:]


def events(interactions: Interactions) -> list[tuple[str, int]]:
    users = [interactions.user_ids[user] for user in interactions.user]
    return list(zip(users, interactions.item.tolist(), strict=True))


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("2.0", "2", "a '.0' at its end"),
        (" a ", "a", "spaces around it"),
        ("007", "7", "leading zeros"),
        ("ABC", "abc", "upper and lower case"),
        ("007.00", "7", "a '.0' at its end and leading zeros"),
        ("01 ", "1 ", "leading zeros"),
        ("01.0", "01", "a '.0' at its end"),
    ],
)
def test_what_two_ids_differ_in(one: str, other: str, differs: str) -> None:
    for known, asked in ((one, other), (other, one)):
        assert LikeIds([known, "x"]).like(asked) == known
        assert difference(asked, known) == differs


def test_ids_that_are_not_alike() -> None:
    assert LikeIds(["1.5", "0", "x1"]).like("1") is None
    assert LikeIds(["1.0", "01"]).like("1") is None  # either could be meant


@pytest.mark.parametrize(
    ("log", "count", "differs"),
    [
        (
            "u,2.0\nu,1.0\nu,30.0\n",
            3,
            "item '2.0' is '2' in the item file, which differs by a '.0'",
        ),
        ('u,"2 "\nu,1\nu,02\n', 2, "item '2 ' is '2' in the item file, which differs by spaces"),
        ("u,002\nu,001\n", 2, "item '002' is '2' in the item file, which differs by leading zeros"),
    ],
)
def test_items_that_nearly_match_are_one_fault(
    write: Write, log: str, count: int, differs: str
) -> None:
    directory = write(interactions__csv=f"user_id,item_id\n{log}", items__csv=ITEMS)
    (fault,) = errors_of(directory)
    assert fault.startswith(f"interactions.csv:2: item_id: {differs}")
    assert f"({count} events have such items)" in fault
    assert fault.endswith("write them alike, or give --match-ids loose")
    interactions, _ = read(DataConfig(directory, match_ids="loose"))
    assert interactions.item[0] == 1
    assert len(interactions) == log.count("\n")


def test_an_id_that_could_be_two_items_is_unknown(write: Write) -> None:
    items = "item_id,title\n01,Ape\n001,Zebra\n"
    directory = write(interactions__csv="user_id,item_id\nu,1\n", items__csv=items)
    (fault,) = errors_of(directory, match_ids="loose")
    assert "item '1' is not in items.csv" in fault


@pytest.mark.parametrize("context", ["keep", "drop"])
def test_rows_with_faults_are_left_out_and_told(
    write: Write, caplog: pytest.LogCaptureFixture, context: str
) -> None:
    log = (
        "a,1,5,1700000003\n"
        ",1,5,1700000000\n"
        "a,,5,1700000000\n"
        "b,2,four,1700000000\n"
        "b,30,4,1700000009\n"
        "a,2,5,soon\na,2,5,later\na,2,5,\na,2,5,tomorrow\n"
        "c,2,5,0\n"
        "b,1,1,1700000001\n"
    )
    directory = write(
        interactions__csv=f"user_id,item_id,rating,timestamp\n{log}", items__csv=ITEMS
    )
    assert len(errors_of(directory, min_rating=3)) == 8
    with caplog.at_level(logging.WARNING, "builder"):
        interactions, _ = read(
            DataConfig(directory, min_rating=3, on_bad_rows="drop", context=context)  # type: ignore[arg-type]
        )
    assert interactions.user_ids == ["a", "b"]
    disliked = [("b", 0)] if context == "keep" else []
    assert events(interactions) == [("a", 0), *disliked, ("b", 2)]
    assert interactions.time is not None
    assert interactions.time.tolist()[0] == 1700000003
    told = [record.getMessage().replace(f"{directory}/", "") for record in caplog.records]
    assert told == [
        (
            "left out: missing values of user_id in interactions.csv, 1 rows: "
            "interactions.csv:3: user_id: the value is missing"
        ),
        (
            "left out: missing values of item_id in interactions.csv, 1 rows: "
            "interactions.csv:4: item_id: the value is missing"
        ),
        (
            "left out: times that cannot be read, 4 rows: "
            "interactions.csv:7: timestamp: 'soon' is no time of 1970 to 2100 | "
            "interactions.csv:8: timestamp: 'later' is no time of 1970 to 2100 | "
            "interactions.csv:9: timestamp: '' is no time of 1970 to 2100"
        ),
        (
            "left out: times of several kinds, 1 rows: "
            "interactions.csv:11: timestamp: '0' looks like numbers too small for a time, "
            "but most of the column is seconds (1 rows differ)"
        ),
        (
            "left out: ratings that cannot be read, 1 rows: "
            "interactions.csv:5: rating: 'four' is no number, which the minimum rating needs"
        ),
    ]


@pytest.mark.parametrize(
    "times",
    [
        ("15/11/2023", "03/04/2023", "soon", "11/16/2023"),
        ("2023-11-15", "20231116", "0", ""),
        ("20231115", "1700000000", "0", "7"),
    ],
)
def test_times_of_any_kind_can_be_left_out(write: Write, times: tuple[str, ...]) -> None:
    rows = [f"u,1,{times[0]}", f"u,2,{times[0]}", f"u,30,{times[0]}"]
    rows += [f"u,1,{time}" for time in times[1:]]
    log = "\n".join(["user_id,item_id,timestamp", *rows])
    interactions, _ = read(
        DataConfig(write(interactions__csv=log, items__csv=ITEMS), on_bad_rows="drop")
    )
    assert len(interactions) == (4 if "03/04/2023" in times else 3)
    assert interactions.time is not None
    assert set(interactions.time.tolist()) <= {1700006400, 1680480000}


def test_json_lines_without_times_can_be_left_out(write: Write) -> None:
    rows = 20_000  # more than are read at a time
    log = '{"user_id": "u", "item_id": 1}\n' * rows
    log += '{"user_id": "v", "item_id": 2, "timestamp": 1700000000}\n'
    directory = write(interactions__jsonl=log, items__csv=ITEMS)
    interactions, _ = read(DataConfig(directory, on_bad_rows="drop"))
    assert events(interactions) == [("v", 1)]
    assert interactions.time is not None
    assert interactions.time.tolist() == [1700000000]


def test_a_log_of_nothing_but_bad_times_stays_an_error(write: Write) -> None:
    log = "user_id,item_id,timestamp\nu,1,soon\nu,2,later\n"
    directory = write(interactions__csv=log, items__csv=ITEMS)
    found = errors_of(directory, on_bad_rows="drop")
    assert len(found) == 2
    assert "'soon' is no time" in found[0]
    assert found == errors_of(directory)


@pytest.mark.parametrize(
    ("log", "fault"),
    [
        ("user_id,item_id,timestamp\nu,1,-5e9\nu,2,-6e9\n", "'-5e9' is no time of 1970 to 2100"),
        ("user_id,item_id\nNULL,1\n,2\n", "the value is missing (NULL stands for that)"),
        ("user_id,item_id\nu,\nu,\n", "the value is missing"),
        ("user_id,item_id\nu,1,2\nv,2,2\n", "3 values"),
    ],
)
def test_what_would_leave_out_all_rows_is_no_advice(write: Write, log: str, fault: str) -> None:
    directory = write(interactions__csv=log, items__csv=ITEMS)
    for given in ("error", "drop"):
        found = errors_of(directory, on_bad_rows=given)
        assert len(found) == 2
        assert fault in found[0]
        assert "and so in all rows, which --on-bad-rows drop would leave out; " in found[0]
        assert "or give --on-bad-rows drop" not in found[0]


def test_events_of_unknown_items_are_left_out_and_told(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    log = "user_id,item_id\nu,7\nu,1\nu,8\nu,9\nu,10\nv,7\nu,2\nu,2.0\n"
    directory = write(interactions__csv=log, items__csv=ITEMS)
    with caplog.at_level(logging.WARNING, "builder"):
        interactions, _ = read(DataConfig(directory, on_unknown_items="drop"))
    assert events(interactions) == [("u", 0), ("u", 1)]
    near, unknown = (record.getMessage() for record in caplog.records)
    assert "items that are written otherwise, 1 rows" in near
    assert unknown.startswith("left out: events with items that are not known, 5 rows: ")
    assert unknown.count(" is not in items.csv") == 3
    found = errors_of(directory)
    assert len(found) == 6
    assert found[1].endswith("or keep to know it by its id")


def test_nothing_is_told_where_nothing_is_left_out(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    directory = write(interactions__csv="user_id,item_id\nu,1\nv,2\n", items__csv=ITEMS)
    found, _ = read(DataConfig(directory, on_bad_rows="drop", on_unknown_items="drop"))
    assert events(found) == [("u", 0), ("v", 1)]
    assert not caplog.records


@pytest.mark.parametrize(
    ("log", "items", "fault"),
    [
        ("u,1\nu,2\n", "item_id,title\n1,Ape\n2,Zebra,striped\n3,Yak\n", "items.csv:3: 3 values"),
        ("u,\xe9\n", "item_id,title\n1,Ape\n2,Yak\n", "interactions.csv:2: byte 0xe9"),
        ("u,1\nu,caf\xc3\xa9\n", "item_id,title\n1,Ape\n2,Yak\ncaf\xe9,Ox\n", "items.csv:4: byte"),
    ],
)
def test_a_consequence_is_no_second_fault(write: Write, log: str, items: str, fault: str) -> None:
    directory = write(
        interactions__csv=f"user_id,item_id\n{log}".encode("latin-1"),
        items__csv=items.encode("latin-1"),
    )
    (found,) = errors_of(directory)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("items", "fault"),
    [
        (
            {"items__jsonl": '{"item_id": 1, "title": "Ape"}\n{"item_id": 2, "ti\n'
             '{"item_id": 3, "title": "Yak"}\n'},
            "items.jsonl:2: not valid JSON",
        ),
        (
            {"items__tsv": 'item_id\ttitle\n1\tApe\n2\t"Zebra\n4\tOx"\n3\tYak\n'},
            "items.tsv:3: a quote opens a value here",
        ),
    ],
)  # fmt: skip
def test_events_of_items_that_were_lost_are_no_second_fault(
    write: Write, items: dict[str, str], fault: str
) -> None:
    (found,) = errors_of(write(interactions__csv="user_id,item_id\nu,1\nu,2\nu,4\n", **items))
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("users", "fault"),
    [
        (
            "1.0,A\n2.0,B\n",
            "user '1' of the log is '1.0' here, which differs by a '.0' at its end (2",
        ),
        (
            "01,A\n2,B\n",
            "user '1' of the log is '01' here, which differs by leading zeros (1 users",
        ),
    ],
)
def test_profiles_of_users_that_nearly_match(write: Write, users: str, fault: str) -> None:
    directory = write(
        interactions__csv="user_id,item_id\n1,1\n2,2\n3,2\n",
        items__csv=ITEMS,
        users__csv=f"user_id,group\n{users}",
    )
    with pytest.raises(DataError, match=re.escape(f"users.csv: user_id: {fault}")) as caught:
        read(DataConfig(directory, profile=("group",)))
    assert str(caught.value).endswith("or give --match-ids loose")
    read(DataConfig(directory))  # whoever reads no profile is not asked
    interactions, _ = read(DataConfig(directory, profile=("group",), match_ids="loose"))
    assert interactions.profile is not None
    assert interactions.profile["group"].tolist() == ["A", "B", ""]


def test_profiles_of_other_users(write: Write) -> None:
    directory = write(
        interactions__csv="user_id,item_id\n1,1\n2,2\n",
        items__csv=ITEMS,
        users__csv="user_id,group\nx1,A\nx2,B\n",
    )
    message = "user_id: none of the 2 users of the log is here, such as '1'; correct the ids"
    with pytest.raises(DataError, match=message):
        read(DataConfig(directory, profile=("group",)))


def test_rows_that_repeat_another_in_full_count_once(write: Write) -> None:
    directory = write(
        interactions__csv="user_id,item_id\n1,1\n2,3\n",
        items__csv="item_id,title\n1,Ape\n2,Yak\n1,Ape\n3,Ox\n1,Ape\n",
        users__csv="user_id,group\n1,A\n1,A\n2,B\n",
    )
    interactions, catalogue = read(DataConfig(directory, profile=("group",)))
    assert catalogue.item_ids == ["1", "2", "3"]
    assert catalogue.texts == ["Ape", "Yak", "Ox"]
    assert interactions.item.tolist() == [0, 2]
    (directory / "items.csv").write_text("item_id,title\n1,Ape\n1,Ape\n2,\n1,Gibbon\n")
    repeated, without_text, _ = errors_of(directory)
    assert repeated.startswith("items.csv:5: item_id: '1' was already given at items.csv:2; keep")
    assert without_text.startswith("items.csv:4: title: item '2' has no text")


def test_rows_of_another_length_are_left_out_and_told(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    log = "user_id,item_id\nu,1\nu\nu,2,3\nv,2\n"
    directory = write(interactions__csv=log, items__csv=ITEMS)
    found, _ = read(DataConfig(directory, on_bad_rows="drop"))
    assert len(found) == 2
    assert "left out: rows of the wrong length, 2 rows: " in caplog.text
    assert "interactions.csv:3: 1 values where the header has 2 columns" in caplog.text
    (directory / "interactions.csv").unlink()
    write(interactions__jsonl='{"user_id": 1, "item_id": 1}\n{"user_id": 1,\n')
    assert len(read(DataConfig(directory, on_bad_rows="drop"))[0]) == 1
    assert len(errors_of(directory)) == 1
