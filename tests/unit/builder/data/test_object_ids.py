"""Objects where an id is expected: orders with their items, exports of MongoDB, nested users."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from builder.data import Columns, DataConfig, read
from builder.data.layouts import find_layout
from builder.data.object_ids import objects_in
from builder.errors import DataError

Write = Callable[..., Path]

ITEMS = "item_id,title\n10,Doom\n20,Quake\n"
DOOM = {"item_id": "10", "name": "Doom"}
QUAKE = {"item_id": 20, "name": "Quake"}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def events_of(directory: Path, **options: Any) -> list[tuple[str, str]]:
    log, catalogue = read(DataConfig(directory, **options))
    return [
        (log.user_ids[user], catalogue.item_ids[item])
        for user, item in zip(log.user, log.item, strict=True)
    ]


EXPECTED = [("u", "10"), ("u", "20"), ("v", "10")]


def test_items_of_orders_are_events(write: Write) -> None:
    rows = ({"user_id": "u", "time": 1600000000, "items": [DOOM, QUAKE]},
            {"user_id": "v", "time": 1600000500, "items": [DOOM]})  # fmt: skip
    directory = write(orders__jsonl=lines(*rows))
    assert events_of(directory) == EXPECTED
    log, catalogue = read(DataConfig(directory))
    assert catalogue.texts == ["Doom", "Quake"]
    assert log.time is not None
    assert log.time.tolist() == [1600000000, 1600000000, 1600000500]
    write(items__csv=ITEMS)
    assert events_of(directory) == EXPECTED


def test_times_and_actions_of_objects(write: Write) -> None:
    events = [{"aid": 20, "ts": 1600000500000, "type": "carts"},
              {"aid": 10, "ts": 1600000000000, "type": "clicks"}]  # fmt: skip
    directory = write(log__jsonl=lines({"session": "u", "events": events}))
    assert events_of(directory) == [("u", "10"), ("u", "20")]
    log, catalogue = read(DataConfig(directory))
    assert log.time is not None
    assert log.actions == ["carts", "clicks"]
    assert catalogue.texts == ["20", "10"]
    assert "time events.ts, action events.type" in str(find_layout(DataConfig(directory)))


def test_what_an_item_says_of_itself_is_no_event(write: Write) -> None:
    item = {"id": "1", "created_at": "2019-01-01", "type": "shirt"}
    row = {"user_id": "u", "time": 1600000000, "items": [item, {**item, "id": "2"}]}
    columns = find_layout(DataConfig(write(log__jsonl=lines(row)))).columns
    assert (columns.time, columns.action) == ("time", "action")


def test_the_same_order_again_is_another_one(write: Write) -> None:
    row = {"user_id": "u", "items": [DOOM, QUAKE]}
    assert len(events_of(write(orders__jsonl=lines(row, row)))) == 4


@pytest.mark.parametrize(
    "items",
    [
        '[{"item_id": "10"}, {"item_id": 20}]',
        "[{'item_id': '10', 'name': None}, {'item_id': 20}]",
    ],
)
def test_objects_that_are_written_as_text(write: Write, items: str) -> None:
    quoted = items.replace('"', '""')
    log = f'user_id,items\nu,"{quoted}"\n'
    assert events_of(write(interactions__csv=log, items__csv=ITEMS)) == EXPECTED[:2]


def test_structs_of_parquet(write: Write) -> None:
    directory = write(items__csv=ITEMS)
    table = pa.table({"user_id": ["u", "v"], "items": [[DOOM, {**QUAKE, "item_id": "20"}], [DOOM]]})
    pyarrow.parquet.write_table(table, directory / "log.parquet")
    assert events_of(directory) == EXPECTED


@pytest.mark.parametrize("key", ["item_id", "id", "sku", "product_id", "productId"])
def test_usual_names_of_ids(write: Write, key: str) -> None:
    log = lines({"user_id": "u", "products": [{"price": 1.5, key: "10"}, {key: "20"}]})
    assert events_of(write(log__jsonl=log, items__csv=ITEMS)) == EXPECTED[:2]


def test_items_of_objects_are_meant_before_what_ends_as_an_id(write: Write) -> None:
    games = [{"item_id": "10", "item_name": "Doom"}, {"item_id": "20", "item_name": "Quake"}]
    rows = [{"user_id": "u", "items_count": 2, "steam_id": "765", "items": games},
            {"user_id": "v", "items_count": 1, "steam_id": "766", "items": games[:1]}]  # fmt: skip
    assert events_of(write(users_items__jsonl=lines(*rows))) == EXPECTED


def test_a_user_and_an_item_may_be_an_object(write: Write) -> None:
    rows = [{"user": {"id": 7}, "item": {"id": item}} for item in ("10", "20")]
    directory = write(log__jsonl=lines(*rows), items__csv=ITEMS)
    assert events_of(directory) == [("7", "10"), ("7", "20")]


def test_objects_without_an_id_are_refused(write: Write) -> None:
    directory = write(log__jsonl=lines({"user_id": "u", "items": [{"name": "a"}, {"name": "b"}]}))
    with pytest.raises(
        DataError, match=r"log.jsonl: items: none of the keys of its objects \(name\) is the id.*"
        r"rename the one that is to item_id, or name another column with --column item=NAME"
    ):  # fmt: skip
        read(DataConfig(directory, interactions="log.jsonl", columns=Columns(item="items")))


def test_an_object_without_its_id_is_a_fault(write: Write) -> None:
    log = lines({"user_id": "u", "items": [DOOM, QUAKE]}, {"user_id": "v", "items": [{"name": ""}]})
    with pytest.raises(DataError, match=r"log.jsonl:2: items: the value is missing"):
        read(DataConfig(write(log__jsonl=log, items__csv=ITEMS)))


def test_types_of_mongodb(write: Write) -> None:
    log = lines(
        {"user_id": {"$oid": "u"}, "item_id": {"$numberLong": "10"},
         "timestamp": {"$date": "2020-09-13T12:26:40Z"}},
        {"user_id": {"$oid": "u"}, "item_id": {"$numberInt": "20"},
         "timestamp": {"$date": {"$numberLong": "1600000000000"}}},
    )  # fmt: skip
    directory = write(log__jsonl=log, items__csv=ITEMS)
    with pytest.raises(DataError, match="ISO text"):  # of two kinds, but both are times
        read(DataConfig(directory))
    write(log__jsonl=log.splitlines(keepends=True)[0])
    assert events_of(directory) == [("u", "10")]
    write(log__jsonl=log.splitlines(keepends=True)[1])
    assert events_of(directory) == [("u", "20")]


@pytest.mark.parametrize(
    "text", ["", "[]", "10", "[1, 2]", "{1, 2}", "{", '[{"a": 1}, 2]', "{a b}"]
)
def test_what_is_no_object(text: str) -> None:
    assert objects_in(text) is None
