"""The first rows of a file: enough to tell what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from builder.data.columnar import ARROW_SUFFIXES, PARQUET_MARK, first_rows
from builder.data.delimited import DELIMITED_SUFFIXES, first_row
from builder.data.dialect import Dialect
from builder.data.files import TABLE_SUFFIXES, read_table
from builder.data.parts import part_files
from builder.data.problems import Problems
from builder.data.rows import TEXT, is_missing, is_number, numbered
from builder.data.sources import UNREADABLE, Source
from builder.data.times import TimeColumn

ROWS: Final = 1000
_BYTES: Final = 1 << 18
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True)
class Peek:
    """The first rows of a file.

    Attributes
    ----------
    columns
        Every column and its first values, as text.
    lists
        Columns whose values are lists.
    headless
        Whether there is no header, so that the columns are numbered.
    """

    path: Path
    columns: dict[str, list[str]]
    lists: frozenset[str] = frozenset()
    headless: bool = False


@dataclass(frozen=True)
class _Head(Source):
    """The first bytes of a file, unpacked."""

    data: bytes = b""

    def open(self) -> pa.NativeFile:
        return pa.BufferReader(self.data)


def peek(path: Path, dialect: Dialect) -> Peek | None:
    """Read the first rows; None where there are none that can be read."""
    try:
        if path.is_dir():
            parts = part_files(path, TABLE_SUFFIXES)
            first = peek(parts[0], dialect) if parts else None
            return None if first is None else replace(first, path=path)
        source = Source.of(path, Problems())
        if source is None:
            return None
        with source.open() as file:
            start = file.read(_BYTES)
        if start.startswith(PARQUET_MARK) or source.suffix in ARROW_SUFFIXES:
            head = _Head(path, ".parquet", "memory", data=first_rows(source, ROWS))
        else:
            head = _Head(path, source.suffix, None, data=_whole_rows(start))
    except UNREADABLE:
        return None
    if not start:
        return None
    names: Sequence[str] = ()
    if head.suffix in DELIMITED_SUFFIXES and not dialect.names:
        # A first row that is no header may have a value twice, which no header has.
        names = first_row(head, dialect)
        dialect = replace(dialect, names=tuple(numbered(len(names))))
    table = read_table(head, None, Problems(), dialect)
    if table is None:
        return None
    columns = {name: values.to_pylist()[:ROWS] for name, values in table.columns.items()}
    if not names or _is_data(columns):
        return Peek(path, columns, table.lists, headless=bool(names))
    return Peek(
        path, {name: values[1:] for name, values in zip(names, columns.values(), strict=True)}
    )


def is_time(values: Sequence[str]) -> bool:
    """Whether all values can be read as times of one kind, and none is a small number.

    Missing ones do not count.
    """
    return _read_times(values).is_sure


def is_counter(values: Sequence[str]) -> bool:
    """Whether the values are numbers that tell the order of events and no more."""
    return _read_times(values).is_counter


def _read_times(values: Sequence[str]) -> TimeColumn:
    times = TimeColumn()
    present = [value for value in values if not is_missing(value)]
    times.add(0, pa.array(present, TEXT), np.ones(len(present), np.bool_))
    return times


def _whole_rows(start: bytes) -> bytes:
    """The rows that are in these bytes as a whole, those of JSON as an object a line."""
    if len(start) < _BYTES:
        return start
    text = start.decode(errors="replace").lstrip("\ufeff \t\r\n")
    if text[:1] in ("[", "{") and not _is_object(text.partition("\n")[0]):
        return "\n".join(map(json.dumps, _objects(text))).encode()
    end = max(start.rfind(b"\n"), start.rfind(b"\r"))
    return start[: end + 1] or start


def _is_object(line: str) -> bool:
    return line.startswith("{") and line.rstrip().endswith("}")


def _objects(text: str) -> Iterator[Any]:
    """The objects with which a list of them begins, or an object of them by id."""
    place = text.find("{", 1)
    while place > 0:
        try:
            value, end = _DECODER.raw_decode(text, place)
        except ValueError:  # it is cut
            return
        yield value
        place = text.find("{", end)


def _is_data(columns: dict[str, list[str]]) -> bool:
    """Whether the first row is as the others are: a number or a time above such ones."""
    return any(
        all(map(is_number, filter(None, values))) or (is_time(values[:1]) and is_time(values))
        for values in columns.values()
        if values and values[0]  # a blank name, as pandas gives its index, tells nothing
    )
