"""Delimited text, JSON lines and Parquet, all read as columns of text.

Ids must come through exactly as they were written, so no value is ever guessed to be a number
here: a later step parses times and ratings, knowing what they are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from builder.data.problems import SHOWN_PER_KIND, Problems

RECBOLE_SUFFIXES: Final = (".inter", ".item", ".user")
PARQUET_SUFFIXES: Final = (".parquet", ".pq")
JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES: Final = (".csv", ".tsv", *PARQUET_SUFFIXES, *JSON_SUFFIXES)

_TEXT: Final = pa.large_string()
_BLOCK_BYTES: Final = 1 << 24  # a row must fit into one block
_JSON_ROWS: Final = 1 << 16
_JSON_DECODER: Final = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=lambda _: None
)


@dataclass(frozen=True, eq=False)
class TextTable:
    """A file as columns of text.

    Attributes
    ----------
    path
        The file.
    names
        Every column that the file has.
    columns
        The columns asked for: large strings without nulls, an empty one for a missing value.
    places
        Maps row numbers (from 0, ascending) to what a person looks for in the file: ``"17"`` for
        line 17, or ``"row 16"`` where a file has no lines.
    """

    path: Path
    names: list[str]
    columns: dict[str, pa.ChunkedArray]
    places: Callable[[Sequence[int]], list[str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def report(
        self,
        problems: Problems,
        kind: str,
        rows: NDArray[np.int64],
        column: str,
        describe: Callable[[int], str],
    ) -> None:
        """Record a problem in each of these rows (ascending), worded by ``describe(row)``."""
        shown = [int(row) for row in rows[:SHOWN_PER_KIND]]
        if shown:
            messages = [
                f"{self.path}:{place}: {column}: {describe(row)}"
                for row, place in zip(shown, self.places(shown), strict=True)
            ]
            problems.add_all(kind, messages, len(rows))


def load(path: Path, wanted: Collection[str] | None, problems: Problems) -> TextTable | None:
    """Read the wanted columns (None: all) as text.

    What is wrong with the file goes to ``problems``; None means that nothing could be read.
    RecBole's ``name:type`` headers lose the type. Columns that the file lacks are left out.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in PARQUET_SUFFIXES:
            return _load_parquet(path, wanted, problems)
        if suffix in JSON_SUFFIXES:
            return _load_json_lines(path, wanted, problems)
        if suffix in (*RECBOLE_SUFFIXES, ".tsv", ".csv"):
            return _load_delimited(path, wanted, problems)
    except (OSError, pa.ArrowInvalid) as error:
        problems.add("unreadable file", f"{path}: cannot be read: {error}; repair or replace it")
        return None
    problems.add(
        "unknown kind of file",
        f"{path}: the suffix {suffix!r} is not known; use one of "
        f"{', '.join((*RECBOLE_SUFFIXES, *TABLE_SUFFIXES))}",
    )
    return None


def _load_delimited(
    path: Path, wanted: Collection[str] | None, problems: Problems
) -> TextTable | None:
    recbole = path.suffix.lower() in RECBOLE_SUFFIXES
    dialect = _Dialect("," if path.suffix.lower() == ".csv" else "\t", quoted=not recbole)
    data = _utf8(path, problems)
    end_of_header = data.find(b"\n")
    header = data if end_of_header < 0 else data[:end_of_header]
    names = next(dialect.rows([header.decode("utf-8-sig").rstrip("\r")]), (1, []))[1]
    if recbole:
        names = [name.rpartition(":")[0] or name for name in names]
    if not _check_header(path, names, problems):
        return None
    keep = [name for name in names if wanted is None or name in wanted]
    malformed = 0

    def skip(_row: object) -> str:
        nonlocal malformed
        malformed += 1
        return "skip"

    if end_of_header >= 0 and data[end_of_header : end_of_header + _BLOCK_BYTES].strip():
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            pyarrow.csv.ReadOptions(column_names=names, skip_rows=1, block_size=_BLOCK_BYTES),
            pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char='"' if dialect.quoted else False,
                newlines_in_values=dialect.quoted,
                invalid_row_handler=skip,
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, _TEXT),
                include_columns=keep,
                strings_can_be_null=False,
            ),
        )
        columns = {name: table[name] for name in keep}
    else:
        columns = {name: pa.chunked_array([], _TEXT) for name in keep}

    def rows() -> Iterator[tuple[int, list[str]]]:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            yield from dialect.rows(file)

    def places(numbers: Sequence[int]) -> list[str]:
        whole = (line for line, fields in rows() if line > 1 and len(fields) == len(names))
        return [str(line) for line in _pick(whole, numbers)]

    if malformed:
        broken = (
            f"{path}:{line}: {len(fields)} values where the header has {len(names)} columns; "
            "add or remove values, or quote the one that holds the separator"
            for line, fields in rows()
            if len(fields) != len(names)
        )
        shown = list(islice(broken, SHOWN_PER_KIND))
        problems.add_all("rows of the wrong length", shown, malformed)
    return TextTable(path, names, columns, places)


@dataclass(frozen=True)
class _Dialect:
    delimiter: str
    quoted: bool

    def rows(self, lines: Iterator[str] | Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line number and the fields of each row; empty lines are no rows."""
        limit = csv.field_size_limit(_BLOCK_BYTES)  # the default refuses long descriptions
        try:
            reader = csv.reader(
                lines,
                delimiter=self.delimiter,
                quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            )
            line = 1
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        finally:
            csv.field_size_limit(limit)


def _load_json_lines(
    path: Path, wanted: Collection[str] | None, problems: Problems
) -> TextTable | None:
    names: dict[str, None] = {}
    chunks: list[dict[str, pa.Array]] = []
    lengths: list[int] = []
    batch: list[dict[str, Any]] = []
    skipped: list[int] = []

    def flush() -> None:
        keep = [name for name in names if wanted is None or name in wanted]
        chunks.append(
            {name: pa.array([_plain_text(row.get(name)) for row in batch], _TEXT) for name in keep}
        )
        lengths.append(len(batch))
        batch.clear()

    text = io.TextIOWrapper(io.BytesIO(_utf8(path, problems)), "utf-8-sig", newline="\n")
    for line, content in enumerate(text, start=1):
        if content.isspace():
            skipped.append(line)
            continue
        row, fault = _json_object(content)
        if row is None:
            skipped.append(line)
            problems.add(
                "lines that are no JSON objects",
                f'{path}:{line}: {fault}; write one object a line, as in {{"id": "1"}}',
            )
            continue
        names.update(dict.fromkeys(row))
        batch.append(row)
        if len(batch) == _JSON_ROWS:
            flush()
    flush()
    if not names:
        problems.add("empty file", f"{path}:1: the file holds no row; fill it")
        return None

    def column(name: str) -> pa.ChunkedArray:
        return pa.chunked_array(
            [
                chunk[name] if name in chunk else pa.array([""] * length, _TEXT)
                for chunk, length in zip(chunks, lengths, strict=True)
            ],
            _TEXT,
        )

    def places(numbers: Sequence[int]) -> list[str]:
        gone = set(skipped)
        lines = (line for line in range(1, sum(lengths) + len(gone) + 1) if line not in gone)
        return [str(line) for line in _pick(lines, numbers)]

    keep = [name for name in names if wanted is None or name in wanted]
    return TextTable(path, list(names), {name: column(name) for name in keep}, places)


def _json_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return the object, or None and what the text is instead."""
    try:
        value = _JSON_DECODER.decode(text)
    except json.JSONDecodeError as error:
        return None, f"not valid JSON ({error.msg} at character {error.pos + 1})"
    return (value, "") if isinstance(value, dict) else (None, "not a JSON object")


def _load_parquet(
    path: Path, wanted: Collection[str] | None, problems: Problems
) -> TextTable | None:
    names: list[str] = pyarrow.parquet.read_schema(path).names
    if not _check_header(path, names, problems):
        return None
    keep = [name for name in names if wanted is None or name in wanted]
    table = pyarrow.parquet.read_table(path, columns=keep)

    def places(numbers: Sequence[int]) -> list[str]:
        return [f"row {number + 1}" for number in numbers]

    columns = {name: _column_text(table[name], path, name, problems) for name in keep}
    return TextTable(path, names, columns, places)


def _column_text(
    column: pa.ChunkedArray, path: Path, name: str, problems: Problems
) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_nested(kind):
        column = pa.chunked_array(
            [pa.array(map(_plain_text, chunk.to_pylist()), _TEXT) for chunk in column.chunks], _TEXT
        )
    elif pa.types.is_floating(kind):
        column = pc.if_else(pc.is_finite(column), column, None)
        # A missing value turns whole numbers into floats in many tools; 1.0 was the id 1.
        if pc.all(pc.equal(column, pc.floor(column))).as_py() is not False:
            column = column.cast(pa.int64())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        # Parquet does not check that its text is UTF-8.
        try:
            column = column.cast(_TEXT)
            column.validate(full=True)
        except pa.ArrowInvalid:
            column = _repair(column, path, name, problems)
    return pc.fill_null(column.cast(_TEXT), "")


def _repair(column: pa.ChunkedArray, path: Path, name: str, problems: Problems) -> pa.ChunkedArray:
    values = [value or b"" for value in column.cast(pa.large_binary()).to_pylist()]
    for row, value in enumerate(values, start=1):
        offset = _bad_byte(value)
        if offset is not None:
            problems.add(
                "text that is not UTF-8",
                f"{path}:row {row}: {name}: byte {value[offset]:#04x} at offset {offset:,} of the "
                "value is not UTF-8; write the file as UTF-8",
            )
    return pa.chunked_array([[value.decode(errors="replace") for value in values]], _TEXT)


def _bad_byte(value: bytes) -> int | None:
    """Return the offset of the first byte that is not UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _utf8(path: Path, problems: Problems) -> bytes:
    """Return the file's bytes as valid UTF-8.

    Bad bytes are reported and replaced, so that the rest of the file is checked all the same.
    """
    data = path.read_bytes()
    if _bad_byte(data) is None:
        return data
    start = 0
    for number, line in enumerate(io.BytesIO(data), start=1):
        offset = _bad_byte(line)
        if offset is not None:
            problems.add(
                "text that is not UTF-8",
                f"{path}:{number}: byte {line[offset]:#04x} at offset {start + offset:,} of the "
                "file is not UTF-8; save the file as UTF-8",
            )
        start += len(line)
    return data.decode(errors="replace").encode()


def _check_header(path: Path, names: list[str], problems: Problems) -> bool:
    if not names:
        problems.add("empty file", f"{path}:1: the file is empty; it needs a header and rows")
        return False
    twice = sorted({name for name in names if names.count(name) > 1})
    for name in twice:
        problems.add(
            "columns of the same name",
            f"{path}:1: {name}: several columns have this name; rename all but one",
        )
    return not twice


def _pick(values: Iterator[int], numbers: Sequence[int]) -> Iterator[int]:
    """Yield the values at these positions, which ascend."""
    wanted = set(numbers)
    last = max(numbers, default=-1)
    for position, value in enumerate(values):
        if position in wanted:
            yield value
        if position == last:
            return


def _plain_text(value: Any) -> str:
    """Text of a JSON value: lists join with spaces, null is nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(filter(None, map(_plain_text, value)))
    if isinstance(value, bool | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
