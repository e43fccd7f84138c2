"""Vectors of another modality, from the item file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from builder.data import DataConfig, read
from builder.data.vectors import check_coverage, side_by_side
from builder.errors import ConfigError, DataError
from tests.unit.builder.data.flags import data_config

Write = Callable[..., Path]

LOG = "user_id,item_id,timestamp\nu1,1,5\nu1,2,6\nu1,3,7\n"
VECTORS = [[0.5, -1e-3, 3.0], None, [1.0, 2.0, 1e20]]
TITLES = ["Ape", "Zebra", "Yak"]


def write_items(directory: Path, kind: str) -> None:
    rows = [
        {"item_id": str(place), "title": title, "image": vector}
        for place, (title, vector) in enumerate(zip(TITLES, VECTORS, strict=True), 1)
    ]
    if kind == "parquet":
        pd.DataFrame(rows).to_parquet(directory / "items.parquet")
    elif kind == "jsonl":
        (directory / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        written = [{**row, "image": row["image"] and json.dumps(row["image"])} for row in rows]
        pd.DataFrame(written).to_csv(directory / "items.csv", index=False)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_every_format_holds_them(write: Write, kind: str) -> None:
    directory = write(interactions__csv=LOG)
    write_items(directory, kind)
    _, catalogue = read(DataConfig(directory, item_vectors=("image",)))
    expected = np.array([[np.nan] * 3 if each is None else each for each in VECTORS], np.float32)
    np.testing.assert_array_equal(catalogue.vectors["image"], expected)
    assert catalogue.vectors["image"].dtype == np.float32
    # They are no part of an item's text.
    assert catalogue.texts == TITLES
    assert list(catalogue.columns.columns) == ["item_id", "title"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1 2", "1 x", "1 2"], r"items.csv:3: image: item '2' has no list of finite numbers here"),
        (["1 2", "[1, nan]", "1 2"], r"items.csv:3: image: item '2' has no list of finite"),
        (["1 2", "1 2", "1 1e39"], r"items.csv:4: image: item '3' has no list of finite"),
        (["1 2", "[[1], 2]", ""], r"items.csv:3: image: item '2' has no list of finite"),
        (["1 2", "3", "1 2"], r"items.csv:3: image: item '2' has 1 numbers and most items have 2"),
    ],
)
def test_what_is_no_vector_is_named(write: Write, values: list[str], message: str) -> None:
    rows = "item_id,title,image\n" + "".join(
        f'{place},Item,"{value}"\n' for place, value in enumerate(values, 1)
    )
    directory = write(interactions__csv=LOG, items__csv=rows)
    with pytest.raises(DataError, match=message):
        read(DataConfig(directory, item_vectors=("image",)))


def test_a_column_that_is_not_there_is_named(write: Write) -> None:
    directory = write(interactions__csv=LOG, items__csv="item_id,title\n1,A\n2,B\n3,C\n")
    message = "items.csv:1: image: there is no such column for an item's vectors; there are title"
    with pytest.raises(DataError, match=message):
        read(DataConfig(directory, item_vectors=("image",)))


def test_two_items_of_training_must_have_one() -> None:
    vectors = {"image": np.array([[1.0], [np.nan], [2.0]], np.float32)}
    check_coverage(vectors, np.array([True, True, True]))
    with pytest.raises(DataError, match="item vectors image: only 1 of the warm items"):
        check_coverage(vectors, np.array([True, True, False]))


def test_a_file_without_any_may_bring_new_items_but_none_to_learn_from(write: Write) -> None:
    rows = 'item_id,title,image\n1,A,\n2,B,[]\n3,C," "\n'
    directory = write(interactions__csv=LOG, items__csv=rows)
    _, catalogue = read(DataConfig(directory, item_vectors=("image",)))
    assert np.isnan(side_by_side(catalogue.vectors, {"image": 2}, 3)).all()
    with pytest.raises(DataError, match="item vectors image: only 0 of the warm items"):
        check_coverage(catalogue.vectors, np.array([True, True, True]))


def test_columns_stand_side_by_side() -> None:
    vectors = {"a": np.array([[1.0, 2.0]], np.float32), "b": np.array([[3.0]], np.float32)}
    found = side_by_side(vectors, {"b": 1, "c": 2, "a": 2}, 1)
    np.testing.assert_array_equal(found, np.array([[3, np.nan, np.nan, 1, 2]], np.float32))
    with pytest.raises(DataError, match="a: they have 2 numbers and the model was trained with 3"):
        side_by_side(vectors, {"a": 3}, 1)


def test_the_option_is_a_list_of_names(tmp_path: Path) -> None:
    config = data_config(tmp_path, item_vectors="image, sound")
    assert config.item_vectors == ("image", "sound")
    assert DataConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="item_vectors 'image': item_profile has this column too"):
        data_config(tmp_path, item_vectors="image", item_profile="image")
    with pytest.raises(ConfigError, match="must be the name of a column of the item file, once"):
        data_config(tmp_path, item_vectors="image,image")
