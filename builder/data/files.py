"""Delimited text, JSON, Parquet and Arrow, read as columns of text, a batch of rows at a time.

Ids must come through exactly as they were written, so no value is ever guessed to be a number
here: a later step parses times and ratings, knowing what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from builder.data.columnar import (
    ARROW_SUFFIXES,
    PARQUET_MARK,
    PARQUET_SUFFIXES,
    scan_columnar,
)
from builder.data.delimited import DELIMITED_SUFFIXES, RECBOLE_SUFFIXES, scan_delimited
from builder.data.dialect import Dialect
from builder.data.json_files import JSON_SUFFIXES, scan_json
from builder.data.parts import part_files, scan_parts
from builder.data.problems import UNREADABLE_FILE, Problems
from builder.data.rows import TEXT, Batch, TextFile, TextTable, kept
from builder.data.sources import UNREADABLE, Source

__all__ = ["TABLE_SUFFIXES", "Batch", "TextFile", "TextTable", "load", "scan"]

TABLE_SUFFIXES: Final = (
    *(".csv", ".tsv", *PARQUET_SUFFIXES, *ARROW_SUFFIXES, *JSON_SUFFIXES),
    *(".txt", ".dat", ""),
)

_BLOCK_BYTES: Final = 1 << 24


def load(
    path: Path, wanted: Collection[str] | None, problems: Problems, dialect: Dialect
) -> TextTable | None:
    """Read the wanted columns (None: all) as text, the whole file at once.

    What is wrong with the file goes to ``problems``; None means that nothing could be read.
    RecBole's ``name:type`` headers lose the type. Columns that the file lacks are left out.
    """
    batches: list[Batch] = []
    file = scan(path, wanted, problems, batches.append, dialect)
    return None if file is None else as_table(file, batches, wanted)


def read_table(
    source: Source, wanted: Collection[str] | None, problems: Problems, dialect: Dialect
) -> TextTable | None:
    """The same of a source that is open already; what cannot be read raises nothing."""
    batches: list[Batch] = []
    try:
        file = _scan(source, dialect, wanted, problems, batches.append, _BLOCK_BYTES)
    except UNREADABLE:
        return None
    return None if file is None else as_table(file, batches, wanted)


def as_table(
    file: TextFile, batches: Sequence[Batch], wanted: Collection[str] | None = None
) -> TextTable:
    """A file with the rows of its batches, and the wanted columns (None: all)."""

    def column(name: str) -> pa.ChunkedArray:
        return pa.chunked_array(
            [
                batch.columns[name] if name in batch.columns else pa.array([""] * batch.rows, TEXT)
                for batch in batches
            ],
            TEXT,
        )

    names = [name for name in kept(file.names, wanted) if name not in file.unread]
    columns = {name: column(name) for name in names}
    return TextTable(**vars(file), columns=columns)


def scan(
    path: Path,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
    dialect: Dialect,
    block_bytes: int = _BLOCK_BYTES,
) -> TextFile | None:
    """Read as `load` does, but hand the rows to ``take`` in batches, so that few are in memory.

    A directory is read as the files in it, one after the other. Delimited text is read in blocks of
    ``block_bytes``. A row must fit into one, and pyarrow may read some 32 of them ahead. Values
    that are no text are reported where their column is wanted by name; else see `TextFile.check`.
    """
    if path.is_dir():
        found = part_files(path, TABLE_SUFFIXES)

        def scan_one(part: Path, take: Callable[[Batch], None]) -> TextFile | None:
            return scan(part, wanted, problems, take, dialect, block_bytes)

        return scan_parts(path, found, take, scan_one, problems)
    try:
        source = Source.of(path, problems)
        if source is None:
            return None
        file = _scan(source, dialect, wanted, problems, take, block_bytes)
    except UNREADABLE as error:
        problems.add(UNREADABLE_FILE, f"{path}: cannot be read: {error}; repair or replace it")
        return None
    if file is not None and wanted is not None:
        file.check(wanted, problems)
    return file


def _scan(
    source: Source,
    dialect: Dialect,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
    block_bytes: int,
) -> TextFile | None:
    with source.open() as file:
        is_parquet = file.read(len(PARQUET_MARK)) == PARQUET_MARK
    if is_parquet or source.suffix in (*PARQUET_SUFFIXES, *ARROW_SUFFIXES):
        return scan_columnar(source, dialect, wanted, problems, take)
    if source.suffix in JSON_SUFFIXES:
        return scan_json(source, dialect, wanted, problems, take)
    if source.suffix in (*RECBOLE_SUFFIXES, *DELIMITED_SUFFIXES):
        return scan_delimited(source, dialect, wanted, problems, take, block_bytes)
    known = (*RECBOLE_SUFFIXES, *filter(None, TABLE_SUFFIXES))
    problems.add(
        "unknown kind of file",
        f"{source.path}: the suffix {source.suffix!r} is not known; use one of {', '.join(known)}",
    )
    return None
