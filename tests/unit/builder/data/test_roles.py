"""Which columns of a log are taken for its users, items, times and ratings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.data import DataConfig
from builder.data.layouts import find_layout
from builder.errors import DataError

Write = Callable[..., Path]

TIME = "1700000000"


@pytest.mark.parametrize(
    ("log", "roles"),
    [
        ({"review/userId": "a", "beer/beerId": "1", "review/time": TIME, "review/overall": "13/20"},
         ("review/userId", "beer/beerId", "review/time", "review/overall")),
        ({"user_id": "a", "click_article_id": "1", "click_timestamp": TIME},
         ("user_id", "click_article_id", "click_timestamp", "rating")),
        # Of several times the finer one.
        ({"user_id": "a", "video_id": "1", "date": "20231115", "time_ms": TIME + "000"},
         ("user_id", "video_id", "time_ms", "rating")),
        # Of several users those who are there.
        ({"sessionId": "a", "userId": "NA", "itemId": "1"},
         ("sessionId", "itemId", "timestamp", "rating")),
        ({"user_id": "NULL", "visitor": "a", "itemId": "1"},
         ("visitor", "itemId", "timestamp", "rating")),
        # What is no number is no rating, and numbers tell an order where there is no time.
        ({"user_id": "a", "item_id": "1", "rating": "PG-13", "stars": "5 stars"},
         ("user_id", "item_id", "timestamp", "stars")),
        ({"user_id": "a", "item_id": "1", "time_stamp": "0829"},
         ("user_id", "item_id", "time_stamp", "rating")),
        ({"user_id": "a", "item_id": "1", "date_added": "Tue Apr 03 18:00:09 -0700 2012"},
         ("user_id", "item_id", "date_added", "rating")),
        ({"user_id": "a", "trackname": "x"}, ("user_id", "trackname", "timestamp", "rating")),
        # An index that pandas wrote.
        ({"": "0", "user_id": "a", "item_id": "1"}, ("user_id", "item_id", "timestamp", "rating")),
    ],
)  # fmt: skip
def test_roles(write: Write, log: dict[str, str], roles: tuple[str, ...]) -> None:
    text = "\n".join(map(",".join, (log, log.values())))
    directory = write(interactions__csv=f"{text}\n", items__csv="item_id,title\n1,one\n")
    columns = find_layout(DataConfig(directory)).columns
    assert (columns.user, columns.item, columns.time, columns.rating) == roles


def test_columns_that_are_named_tell_the_log(write: Write) -> None:
    directory = write(train__csv=f"who,what,date\na,1,{TIME}\n", other__csv="x,y\n1,2\n")
    config = DataConfig(directory)
    layout = find_layout(
        DataConfig(directory, columns=type(config.columns)(user="who", item="what"))
    )
    assert layout.interactions.name == "train.csv"


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        # Ids as long as the seconds of 1974, items by name.
        (("151603701,Fallout 4,play,87.5,0", "151603702,Dota 2,purchase,1.5,0",
          "151603701,Dota 2,play,1.0,0"), "user,item,action,column_4,column_5"),
        (("1,7,1001,4,2011-11-25", "2,8,1002,5,2011-11-26"), "user,item,column_3,rating,time"),
        (("u1,a1,Löwe,12", "u1,a2,Zebra,7"), "user,item,column_3,rating"),
    ],
)  # fmt: skip
def test_columns_of_a_log_without_a_header(
    write: Write, rows: tuple[str, ...], columns: str
) -> None:
    directory = write(log__csv="\n".join(rows) + "\n")
    with pytest.raises(DataError, match=f"give --interactions log.csv --columns {columns}$"):
        find_layout(DataConfig(directory))


def test_a_file_of_users_is_neither_log_nor_items(write: Write) -> None:
    rows = (f"u{day}\t2009-05-0{day}T23:08:57Z\ta1\tLöwe W.\n" for day in (1, 2))
    write(plays__tsv="".join(rows))
    directory = write(profile__tsv="u1\tf\t22\tFeb 1, 2007\nu2\tm\t30\tFeb 2, 2007\n")
    with pytest.raises(DataError) as caught:
        find_layout(DataConfig(directory))
    assert "give --interactions plays.tsv --columns user,time,item,column_4" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ({"combined__txt": "1:\n7,5,2005-09-06\n8,3,2005-09-07\n"},
         "rows in blocks .* give --columns item,user,rating,time$"),
        ({"data__zip": "", "notes__md": ""}, "unpack data.zip, or save it as CSV$"),
        ({"a__csv": "x,y\n1,2\n", "train__csv": "user_id,reference\nu,1\n"},
         "if train.csv is it, give --interactions train.csv .*, of user_id, reference; users or"),
    ],
)  # fmt: skip
def test_what_is_no_log_is_told_how_to_become_one(
    write: Write, files: dict[str, str], advice: str
) -> None:
    with pytest.raises(DataError, match=advice):
        find_layout(DataConfig(write(**files)))


def test_the_log_may_be_named_as_the_item_file(write: Write) -> None:
    directory = write(
        orders__csv="customer_id,product_id,name\nu,1,Ape\nu,2,Bee\n",
        products__csv="product_id,name\n1,other\n2,others\n",
    )
    layout = find_layout(DataConfig(directory, items="orders.csv"))
    assert layout.interactions == layout.items == directory / "orders.csv"
    assert layout.items_of_log
