"""Delimited text, JSON lines and Parquet, all read as columns of text, a batch of rows at a time.

Ids must come through exactly as they were written, so no value is ever guessed to be a number
here: a later step parses times and ratings, knowing what they are.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

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
_BLOCK_BYTES: Final = 1 << 24
_BATCH_ROWS: Final = 1 << 14
_JSON_DECODER: Final = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=lambda _: None
)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file, which follow on those of the batch before.

    Attributes
    ----------
    rows
        How many.
    columns
        Those asked for: large strings without nulls, an empty one for a missing value. Of JSON
        lines, only those that some row had up to here.
    """

    rows: int
    columns: dict[str, pa.Array]


@dataclass(frozen=True, eq=False)
class TextFile:
    """What is known of a file once it was read.

    Attributes
    ----------
    path
        The file.
    names
        Every column that the file has.
    places
        Maps row numbers (from 0, ascending) to what a person looks for in the file: ``"17"`` for
        line 17, or ``"row 16"`` where a file has no lines.
    """

    path: Path
    names: list[str]
    places: Callable[[Sequence[int]], list[str]]

    def has(self, column: str, role: str, problems: Problems) -> bool:
        """Whether the file has this column, which is reported where it does not."""
        if column in self.names:
            return True
        problems.add(
            "missing columns",
            f"{self.path}:1: {column}: there is no such column; map '{role}' to one of "
            f"{', '.join(self.names)}",
        )
        return False

    def report(
        self,
        problems: Problems,
        kind: str,
        rows: Sequence[int] | NDArray[np.int64],
        column: str,
        describe: Callable[[int], str],
        count: int | None = None,
    ) -> None:
        """Record a problem in each of these rows (ascending), worded by ``describe(row)``.

        Where ``rows`` are only the first of them, ``count`` says how many there are.
        """
        shown = [int(row) for row in rows[:SHOWN_PER_KIND]]
        if shown:
            messages = [
                f"{self.path}:{place}: {column}: {describe(row)}"
                for row, place in zip(shown, self.places(shown), strict=True)
            ]
            problems.add_all(kind, messages, len(rows) if count is None else count)


@dataclass(frozen=True, eq=False)
class TextTable(TextFile):
    """A file as columns of text.

    Attributes
    ----------
    columns
        The columns asked for: large strings without nulls, an empty one for a missing value.
    """

    columns: dict[str, pa.ChunkedArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def load(path: Path, wanted: Collection[str] | None, problems: Problems) -> TextTable | None:
    """Read the wanted columns (None: all) as text, the whole file at once.

    What is wrong with the file goes to ``problems``; None means that nothing could be read.
    RecBole's ``name:type`` headers lose the type. Columns that the file lacks are left out.
    """
    batches: list[Batch] = []
    file = scan(path, wanted, problems, batches.append)
    if file is None:
        return None

    def column(name: str) -> pa.ChunkedArray:
        return pa.chunked_array(
            [
                batch.columns[name] if name in batch.columns else pa.array([""] * batch.rows, _TEXT)
                for batch in batches
            ],
            _TEXT,
        )

    columns = {name: column(name) for name in _kept(file.names, wanted)}
    return TextTable(file.path, file.names, file.places, columns)


def scan(
    path: Path,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
    block_bytes: int = _BLOCK_BYTES,
) -> TextFile | None:
    """Read as `load` does, but hand the rows to ``take`` in batches, so that few are in memory.

    Delimited text is read in blocks of ``block_bytes``. A row must fit into one, and pyarrow may
    read some 32 of them ahead.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in PARQUET_SUFFIXES:
            return _scan_parquet(path, wanted, problems, take)
        if suffix in JSON_SUFFIXES:
            return _scan_json_lines(path, wanted, problems, take)
        if suffix in (*RECBOLE_SUFFIXES, ".tsv", ".csv"):
            return _scan_delimited(path, wanted, problems, take, block_bytes)
    except (OSError, pa.ArrowInvalid) as error:
        problems.add("unreadable file", f"{path}: cannot be read: {error}; repair or replace it")
        return None
    problems.add(
        "unknown kind of file",
        f"{path}: the suffix {suffix!r} is not known; use one of "
        f"{', '.join((*RECBOLE_SUFFIXES, *TABLE_SUFFIXES))}",
    )
    return None


def _kept(names: Collection[str], wanted: Collection[str] | None) -> list[str]:
    return [name for name in names if wanted is None or name in wanted]


def _scan_delimited(
    path: Path,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
    block_bytes: int,
) -> TextFile | None:
    recbole = path.suffix.lower() in RECBOLE_SUFFIXES
    dialect = _Dialect("," if path.suffix.lower() == ".csv" else "\t", quoted=not recbole)
    valid = _check_utf8(path, problems)
    with path.open("rb") as file:
        header = file.readline()
        has_rows = any(not line.isspace() for line in file)
    text = header.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    names = next(dialect.rows([text]), (1, []))[1]
    if recbole:
        names = [name.rpartition(":")[0] or name for name in names]
    if not _check_header(path, names, problems):
        return None
    malformed = 0

    def skip(_row: object) -> str:
        nonlocal malformed
        malformed += 1
        return "skip"

    if has_rows:
        with (
            pa.OSFile(str(path)) if valid else io.BufferedReader(_Repaired(path)) as source,
            pyarrow.csv.open_csv(
                source,
                pyarrow.csv.ReadOptions(column_names=names, skip_rows=1, block_size=block_bytes),
                pyarrow.csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char='"' if dialect.quoted else False,
                    newlines_in_values=dialect.quoted,
                    invalid_row_handler=skip,
                ),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, _TEXT),
                    include_columns=_kept(names, wanted),
                    strings_can_be_null=False,
                ),
            ) as batches,
        ):
            for batch in batches:
                take(Batch(len(batch), dict(zip(batch.schema.names, batch.columns, strict=True))))

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
    return TextFile(path, names, places)


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


def _scan_json_lines(
    path: Path,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
) -> TextFile | None:
    names: dict[str, None] = {}
    batch: list[dict[str, Any]] = []

    def flush() -> None:
        columns = {
            name: pa.array([_plain_text(row.get(name)) for row in batch], _TEXT)
            for name in _kept(names, wanted)
        }
        take(Batch(len(batch), columns))
        batch.clear()

    def lines() -> Iterator[tuple[int, str]]:
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
            yield from ((n, text) for n, text in enumerate(file, start=1) if not text.isspace())

    _check_utf8(path, problems)
    for line, content in lines():
        row, fault = _json_object(content)
        if row is None:
            problems.add(
                "lines that are no JSON objects",
                f'{path}:{line}: {fault}; write one object a line, as in {{"id": "1"}}',
            )
            continue
        names.update(dict.fromkeys(row))
        batch.append(row)
        if len(batch) == _BATCH_ROWS:
            flush()
    flush()
    if not names:
        problems.add("empty file", f"{path}:1: the file holds no row; fill it")
        return None

    def places(numbers: Sequence[int]) -> list[str]:
        good = (line for line, content in lines() if _json_object(content)[0] is not None)
        return [str(line) for line in _pick(good, numbers)]

    return TextFile(path, list(names), places)


def _json_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return the object, or None and what the text is instead."""
    try:
        value = _JSON_DECODER.decode(text)
    except json.JSONDecodeError as error:
        return None, f"not valid JSON ({error.msg} at character {error.pos + 1})"
    return (value, "") if isinstance(value, dict) else (None, "not a JSON object")


def _scan_parquet(
    path: Path,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
) -> TextFile | None:
    # A buffer is read at a time, and not all of a column that a group of rows has.
    with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20) as file:
        names: list[str] = file.schema_arrow.names
        if not _check_header(path, names, problems):
            return None
        keep = _kept(names, wanted)
        integers = {name for name in keep if _holds_only_integers(file, name)}
        repaired: dict[str, list[str]] = {name: [] for name in keep}
        start = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=keep):
            columns = {}
            for name in keep:
                column, bad = _column_text(batch[name], integers=name in integers)
                columns[name] = column
                repaired[name] += [
                    f"{path}:row {start + row}: {name}: {fault}; write the file as UTF-8"
                    for row, fault in bad
                ]
            take(Batch(len(batch), columns))
            start += len(batch)
    for messages in repaired.values():
        for message in messages:
            problems.add("text that is not UTF-8", message)

    def places(numbers: Sequence[int]) -> list[str]:
        return [f"row {number + 1}" for number in numbers]

    return TextFile(path, names, places)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _holds_only_integers(file: pyarrow.parquet.ParquetFile, name: str) -> bool:
    """Whether a column is of floats, none of which has a fraction."""
    kind = _value_type(file.schema_arrow.field(name).type)
    if not pa.types.is_floating(kind):
        return False
    for batch in file.iter_batches(_BATCH_ROWS, columns=[name]):
        values = batch[name].cast(kind)
        if pc.any(pc.and_(pc.is_finite(values), pc.not_equal(values, pc.floor(values)))).as_py():
            return False
    return True


def _column_text(column: pa.Array, *, integers: bool) -> tuple[pa.Array, list[tuple[int, str]]]:
    """Return the text, and which rows (from 1) were not UTF-8 and why."""
    bad: list[tuple[int, str]] = []
    kind = _value_type(column.type)
    if kind != column.type:
        column = column.cast(kind)
    if pa.types.is_nested(kind):
        column = pa.array(map(_plain_text, column.to_pylist()), _TEXT)
    elif pa.types.is_floating(kind):
        column = pc.if_else(pc.is_finite(column), column, None)
        # A missing value turns whole numbers into floats in many tools; 1.0 was the id 1.
        if integers:
            column = column.cast(pa.int64())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        # Parquet does not check that its text is UTF-8.
        try:
            column = column.cast(_TEXT)
            column.validate(full=True)
        except pa.ArrowInvalid:
            column, bad = _repair(column)
    return pc.fill_null(column.cast(_TEXT), ""), bad


def _repair(column: pa.Array) -> tuple[pa.Array, list[tuple[int, str]]]:
    values = [value or b"" for value in column.cast(pa.large_binary()).to_pylist()]
    bad = [
        (row, f"byte {value[offset]:#04x} at offset {offset:,} of the value is not UTF-8")
        for row, value in enumerate(values, start=1)
        if (offset := _bad_byte(value)) is not None
    ]
    return pa.array([value.decode(errors="replace") for value in values], _TEXT), bad


def _bad_byte(value: bytes) -> int | None:
    """Return the offset of the first byte that is not UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _check_utf8(path: Path, problems: Problems) -> bool:
    """Whether the file is valid UTF-8; bad bytes are reported, one in each line that has some."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while data := file.read(1 << 20):
                decoder.decode(data)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
        else:
            return True
        start = 0
        for number, line in enumerate(file, start=1):
            offset = _bad_byte(line)
            if offset is not None:
                problems.add(
                    "text that is not UTF-8",
                    f"{path}:{number}: byte {line[offset]:#04x} at offset {start + offset:,} of "
                    "the file is not UTF-8; save the file as UTF-8",
                )
            start += len(line)
    return False


class _Repaired(io.RawIOBase):
    """A file's text as valid UTF-8: bad bytes are replaced, so that the rest is checked as well."""

    def __init__(self, path: Path) -> None:
        self._text: IO[str] = path.open(encoding="utf-8", errors="replace", newline="")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or self._text.read(io.DEFAULT_BUFFER_SIZE).encode()
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def close(self) -> None:
        self._text.close()
        super().close()


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
