"""Writes a data set as two Parquet files of the usual names and columns."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from builder.data.readers import DataSet
from builder.data.tables import Catalogue
from builder.data.unsorted import UnsortedEvents
from builder.errors import DataError
from builder.progress import Progress, silent

TEXT: Final = "text"
"""The column of an item's text."""
_ROWS: Final = 1 << 20
_MICROSECONDS: Final = 10**6


def check_output(directory: Path) -> None:
    """Refuse a directory that `convert` could not write to; nothing changes.

    Raises
    ------
    DataError
        It is no empty one, or cannot be written.
    """
    try:
        _check_empty(directory)
        # It is made only when there is something to write.
        place = directory.absolute()
        there = next(each for each in (place, *place.parents) if each.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise _cannot_be_written(directory, error) from error


def convert(data: DataSet, directory: Path, progress: Progress = silent) -> tuple[Path, Path]:
    """Write ``interactions.parquet`` and ``items.parquet``; returns where they are.

    The log has ``user_id``, ``item_id`` and, where they are known, ``timestamp`` (Unix time),
    ``rating`` and ``action``. The items have ``item_id``, their ``text`` as it was made, and the
    other columns of their file.

    Raises
    ------
    DataError
        The directory is no empty one, or cannot be written.
    """
    log, items = directory / "interactions.parquet", directory / "items.parquet"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _check_empty(directory)
        _write_items(data, items)
        _write_log(data.events, data.catalogue, log, progress)
    except OSError as error:
        raise _cannot_be_written(directory, error) from error
    return log, items


def _check_empty(directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()):
        raise DataError(f"--output {directory}: is not empty; name a new directory")


def _cannot_be_written(directory: Path, error: OSError) -> DataError:
    return DataError(
        f"--output {directory}: cannot be written: {error.strerror or error}; make room, or "
        "name another directory"
    )


def _write_items(data: DataSet, path: Path) -> None:
    catalogue = data.catalogue
    key = data.layout.columns.item_key or data.layout.columns.item
    columns: dict[str, pa.Array] = {
        "item_id": pa.array(catalogue.item_ids, pa.string()),
        TEXT: pa.array(catalogue.texts, pa.string()),
    }
    for name in catalogue.columns.columns:
        if name not in (key, TEXT):
            columns[str(name)] = pa.array(catalogue.columns[name].tolist(), pa.string())
    for name, vectors in catalogue.vectors.items():
        known = ~np.isnan(vectors).all(1)
        columns[name] = pa.array(
            [row.tolist() if has else None for row, has in zip(vectors, known, strict=True)],
            pa.list_(pa.float32()),
        )
    pyarrow.parquet.write_table(pa.table(columns), path, compression="zstd")


def _write_log(
    events: UnsortedEvents, catalogue: Catalogue, path: Path, progress: Progress
) -> None:
    ids = {
        "user_id": pa.array(events.user_ids, pa.string()),
        "item_id": pa.array(catalogue.item_ids, pa.string()),
    }
    actions = pa.array([None, *events.actions], pa.string())
    # Units other than these are not told from one another by the size of a number.
    finer = events.per_second not in (1, _MICROSECONDS)
    fields = [pa.field(name, pa.string()) for name in ids]
    fields += [pa.field("timestamp", pa.int64())] if events.ticks is not None else []
    fields += [pa.field("rating", pa.float32())] if events.rating is not None else []
    fields += [pa.field("action", pa.string())] if events.action is not None else []
    schema = pa.schema(fields)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(events), _ROWS):
            part = slice(start, start + _ROWS)
            columns = [
                ids["user_id"].take(pa.array(events.user[part])),
                ids["item_id"].take(pa.array(events.item[part])),
            ]
            if events.ticks is not None:
                ticks = events.ticks[part]
                columns.append(pa.array(ticks // (events.per_second if finer else 1)))
            if events.rating is not None:
                columns.append(pa.array(events.rating[part], from_pandas=True))
            if events.action is not None:
                columns.append(actions.take(pa.array(events.action[part])))
            writer.write_table(pa.table(columns, schema=schema))
            progress(f"Writing {path.name}, events", min(start + _ROWS, len(events)), len(events))
