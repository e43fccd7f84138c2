"""The forms in which ratings are written."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from builder.data.ratings import numbers_of


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
