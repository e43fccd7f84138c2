"""Rows of an item or user file that are there twice, in all that is read of them: one is enough."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from builder.data.files import TextTable
from builder.data.problems import Problems

log = logging.getLogger(__name__)


def without_repeats(table: TextTable, column: str) -> TextTable:
    """Leave out rows that equal an earlier one; ``column`` has the ids."""
    ids = table.columns[column].to_pandas()
    suspects = np.flatnonzero(ids.duplicated(keep=False) & (ids != ""))  # few, and often none
    rows = {
        name: values.take(pa.array(suspects)).to_pandas() for name, values in table.columns.items()
    }
    repeated = suspects[pd.DataFrame(rows).duplicated().to_numpy()]
    if not len(repeated):
        return table
    log.info("%s: %d rows repeat another in full; each counts once", table.path, len(repeated))
    return _only(table, np.setdiff1d(np.arange(len(ids)), repeated))


def with_ids(table: TextTable, column: str, left_out: Problems) -> TextTable:
    """The first row of each id; ``left_out`` says which others there are."""
    check_ids(table, column, left_out)
    ids = table.columns[column].to_pandas()
    return _only(table, np.flatnonzero(~ids.duplicated() & (ids != "")))


def _only(table: TextTable, rows: NDArray[np.int64]) -> TextTable:
    """Some rows of a table, ascending."""
    places = table.places

    def places_of_kept(numbers: Sequence[int]) -> list[str]:
        return places(rows[list(numbers)].tolist())

    columns = {name: values.take(pa.array(rows)) for name, values in table.columns.items()}
    return replace(table, places=places_of_kept, columns=columns)


def check_ids(table: TextTable, column: str, problems: Problems) -> None:
    """Report ids that are missing, or given again in another row."""
    _check_present(table, column, problems)
    ids = table.columns[column].to_pandas()
    repeated = np.flatnonzero(ids.duplicated() & (ids != ""))

    def describe(row: int) -> str:
        first = int(np.flatnonzero(ids == ids.iloc[row])[0])
        return (
            f"{ids.iloc[row]!r} was already given at "
            f"{table.path.name}:{table.places([first])[0]}; keep one of the two, "
            "or give --on-bad-rows drop for the first"
        )

    table.report(problems, f"repeated ids in {table.path.name}", repeated, column, describe)


def _check_present(table: TextTable, column: str, problems: Problems) -> None:
    table.report(
        problems,
        f"missing values of {column} in {table.path.name}",
        np.flatnonzero(pc.equal(table.columns[column], "").to_numpy()),
        column,
        lambda _: "the value is missing; fill it in, or give --on-bad-rows drop",
    )
