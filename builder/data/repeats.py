"""Rows of an item or user file that are there twice, in all that is read of them: one is enough."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from builder.data.files import TextTable

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
    kept = np.setdiff1d(np.arange(len(ids)), repeated)
    places = table.places

    def places_of_kept(numbers: Sequence[int]) -> list[str]:
        return places(kept[list(numbers)].tolist())

    columns = {name: values.take(pa.array(kept)) for name, values in table.columns.items()}
    return replace(table, places=places_of_kept, columns=columns)
