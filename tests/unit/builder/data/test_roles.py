"""Which columns of a log are taken for its users, items, times and ratings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.data import DataConfig
from builder.data.layouts import find_layout

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
