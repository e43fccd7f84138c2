"""Items without a text, and items that only the log knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builder.data import DataConfig, read
from builder.data.config import OnItem
from builder.errors import DataError

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,a\n2,\n3,c\n"
LOG = "user_id,item_id\nu,1\nu,2\nu,7\nv,7\nv,3\n"


def test_items_without_a_text_are_refused_with_the_way_out(write: Write) -> None:
    directory = write(interactions__csv="user_id,item_id\nu,1\n", items__csv=ITEMS)
    with pytest.raises(DataError, match=r"item '2' has no text; .*--on-items-without-text keep"):
        read(DataConfig(directory))
    (directory / "items.csv").write_text("item_id,price\n1,5\n2,6\n")
    with pytest.raises(DataError, match=r"no column holds text; .*--on-items-without-text keep"):
        read(DataConfig(directory))
    _, catalogue = read(DataConfig(directory, on_items_without_text="keep"))
    assert catalogue.texts == ["1", "2"]


@pytest.mark.parametrize(
    ("without_text", "unknown", "texts", "items"),
    [
        ("keep", "drop", ["a", "2", "c"], [0, 1, 2]),
        ("keep", "keep", ["a", "2", "c", "7"], [0, 1, 3, 3, 2]),
        ("drop", "drop", ["a", "c"], [0, 1]),
        ("drop", "keep", ["a", "c", "7"], [0, 2, 2, 1]),
    ],
)
def test_they_are_kept_or_left_out(
    write: Write, without_text: OnItem, unknown: OnItem, texts: list[str], items: list[int]
) -> None:
    config = DataConfig(
        write(interactions__csv=LOG, items__csv=ITEMS),
        on_items_without_text=without_text,
        on_unknown_items=unknown,
    )
    log, catalogue = read(config)
    assert catalogue.texts == texts
    assert log.item.tolist() == items
    assert len(catalogue.columns) == len(catalogue)


def test_what_is_left_out_is_told(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    directory = write(interactions__csv=LOG, items__csv=ITEMS)
    read(DataConfig(directory, on_items_without_text="drop", on_unknown_items="drop"))
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "left out: items without text, 1 of 3"
    assert told[1].startswith("left out: events with items that are not known, 2 rows")
    assert told[2].startswith("left out: events with items without text, 1 rows")


def test_items_that_only_the_log_knows_have_no_vectors(write: Write) -> None:
    items = 'item_id,title,image\n1,a,"[1, 2]"\n3,c,"[3, 4]"\n'
    directory = write(interactions__csv="user_id,item_id\nu,1\nu,9\n", items__csv=items)
    _, catalogue = read(DataConfig(directory, on_unknown_items="keep", item_vectors=("image",)))
    assert catalogue.vectors["image"][:2].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(catalogue.vectors["image"][2]).all()


def test_a_log_may_tell_about_the_items(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    log = "user_id,artist_id,artist,timestamp\nu,a1,Löwe,20\nv,a2,Zebra,10\nu,a2,Zebra!,30\n"
    directory = write(plays__csv=log)
    found, catalogue = read(DataConfig(directory))
    assert (catalogue.item_ids, catalogue.texts) == (["a1", "a2"], ["Löwe", "Zebra"])
    assert found.item.tolist() == [0, 1, 1]
    assert "no other file tells about the items of plays.csv" in caplog.text
    assert "name one, as in --items FILE" in caplog.text
    write(names__csv="1,A lion\n2,A zebra\n")
    read(DataConfig(directory))
    assert "--items names.csv --item-columns item,title" in caplog.text
    (directory / "plays.csv").write_text("user_id,item_id\nu,5\nv,6\nu,5\n")
    assert read(DataConfig(directory))[1].texts == ["5", "6"]


def test_a_file_of_numbers_tells_nothing_about_items(write: Write) -> None:
    log = "userId,movieId,rating,timestamp\nu,5,3,20\nv,6,4,10\n"
    directory = write(ratings__csv=log, links__csv="movieId,imdbId\n5,0114709\n6,0113497\n")
    assert read(DataConfig(directory))[1].texts == ["5", "6"]
    write(films__csv="movieId,title\n5,Heat\n6,Nixon\n")
    assert read(DataConfig(directory))[1].texts == ["Heat", "Nixon"]
