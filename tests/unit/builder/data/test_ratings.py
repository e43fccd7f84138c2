"""The forms in which ratings are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from builder.data import DataConfig, read
from builder.data.ratings import numbers_of, ratings_of, scales_in_words
from builder.errors import DataError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4), ("-1.5", -1.5), ("1e1", 10), ("3.125", 3.125), ("4,5", 4.5), ("5 stars", 5),
        ("4/5", 4), ("13/20", 13), ("4.0 out of 5 stars", 4), ("TRUE", 1), ("False", 0),
        ("yes", 1), (" 3 ", 3), ("80%", 80), ("12.5 %", 12.5), ("★★★", 3), ("★★★★☆", 4),
        ("☆☆", 0), ("⭐⭐", 2),
    ],
)  # fmt: skip
def test_a_rating_is_read(text: str, number: float) -> None:
    assert numbers_of(pa.array([text, "no"], pa.large_string())).tolist() == [number, 0]


@pytest.mark.parametrize(
    "text", ["", "PG-13", "1,234", "5 apples", "NULL", "4/", "★★½", "1.500,5", "good"]
)
def test_what_is_no_rating(text: str) -> None:
    assert math.isnan(numbers_of(pa.array([text, "4/5"], pa.large_string()))[0])


@pytest.mark.parametrize(
    ("texts", "scales"),
    [
        (["4/5", "3", "8/10", "4 out of 5 stars"], {5: 0, 10: 2}),
        (["★★", "80%", "8/10.0", "no", "", "3/100"], {100: 1, 10: 2}),
        (["4", "5"], {}),
    ],
)
def test_the_scales_that_ratings_tell(texts: list[str], scales: dict[float, int]) -> None:
    assert ratings_of(pa.array(texts, pa.large_string()))[1] == scales


def test_scales_in_words() -> None:
    assert scales_in_words({10: 0, 5: 1}) == "of 5 and of 10"
    assert scales_in_words({10: 0, 5: 1, 100: 2}) == "of 5, of 10 and of 100"


def test_no_minimum_fits_ratings_of_several_scales(write: Callable[..., Path]) -> None:
    log = "user_id,item_id,rating\nu,1,4/5\nv,2,3/5\nw,1,8/10\n"
    directory = write(interactions__csv=log, items__csv="item_id,title\n1,one\n2,two\n")
    fault = (
        "interactions.csv:4: rating: the ratings are of 5 and of 10, and no minimum fits all; "
        "write them on one scale"
    )
    with pytest.raises(DataError, match=fault):
        read(DataConfig(directory, min_rating=4.0, on_bad_rows="drop"))
    write(interactions__csv=log.replace("8/10", "4"))
    assert len(read(DataConfig(directory, min_rating=4.0))[0]) == 2
