"""Vectors of another modality, such as images or sound: one for each item, made beforehand.

A column of the item file holds them, as lists in Parquet and JSON lines, elsewhere as the text of a
JSON array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.files import TextTable
from builder.data.problems import Problems
from builder.errors import DataError

_FEWEST: Final = 2
"""Items of training that must have a vector; from one nothing is learnt of others."""
_LARGEST: Final = float(np.finfo(np.float32).max)


def read_vectors(
    table: TextTable, name: str, item_ids: Sequence[str], problems: Problems
) -> NDArray[np.float32]:
    """FP32 [n, k], NaN throughout for an item that has none; k is 0 where no item has one.

    Adds to the problems what is no list of finite numbers, or not of the usual length.
    """
    found = [_numbers(text) for text in table.columns[name].to_pylist()]
    table.report(
        problems,
        f"values of {name} that are no vectors",
        np.flatnonzero([each is None for each in found]),
        name,
        lambda row: (
            f"item {item_ids[row]!r} has no list of finite numbers here; write one, as in "
            "[0.1, -2.5], or leave it empty"
        ),
    )
    lengths = Counter(len(each) for each in found if each)
    usual = lengths.most_common(1)[0][0] if lengths else 0
    table.report(
        problems,
        f"vectors of {name} of another length",
        np.flatnonzero([len(each or ()) not in (0, usual) for each in found]),
        name,
        lambda row: (
            f"item {item_ids[row]!r} has {len(found[row] or ())} numbers and most items have "
            f"{usual}; all must be of the same model"
        ),
    )
    vectors = np.full((len(found), usual), np.nan, np.float32)
    for row, each in zip(vectors, found, strict=True):
        if each and len(each) == usual:
            row[:] = each
    return vectors


def check_coverage(vectors: Mapping[str, NDArray[np.float32]], warm: NDArray[np.bool_]) -> None:
    """Raise `DataError` unless two of the `warm` items, BOOL [n], have each vector."""
    for name, own in vectors.items():
        known = int((warm & np.isfinite(own).any(axis=1)).sum())
        if known < _FEWEST:
            raise DataError(
                f"item vectors {name}: only {known} of the warm items have one, so there is "
                "nothing to learn from; fill the column, or leave it out"
            )


def side_by_side(
    vectors: Mapping[str, NDArray[np.float32]], widths: Mapping[str, int], items: int
) -> NDArray[np.float32]:
    """The columns that ``widths`` names, FP32 [items, K]; NaN for one that no item has.

    Raises
    ------
    DataError
        A column is of another width.
    """
    found = []
    for name, width in widths.items():
        own = vectors.get(name)
        if own is None or not own.shape[1]:
            own = np.full((items, width), np.nan, np.float32)
        if own.shape[1] != width:
            raise DataError(
                f"item vectors {name}: they have {own.shape[1]} numbers and the model was trained "
                f"with {width}; make them with the same model as those, or train again"
            )
        found.append(own)
    return np.concatenate(found, axis=1) if found else np.empty((items, 0), np.float32)


def _numbers(text: str) -> list[float] | None:
    """The numbers that a text lists; none where it is empty, None where it is no such list."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1].replace(",", " ")
    try:
        numbers = [float(each) for each in text.split()]
    except ValueError:
        return None
    return numbers if all(abs(each) <= _LARGEST for each in numbers) else None
