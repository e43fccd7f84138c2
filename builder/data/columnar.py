"""Parquet and Arrow files, in batches of rows, whatever the types of their columns are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet

from builder.data.dialect import Dialect
from builder.data.json_files import plain_text
from builder.data.problems import NOT_UTF8, Problems
from builder.data.rows import TEXT, UNIT_SEPARATOR, Batch, TextFile, check_header, kept
from builder.data.sources import Source, bad_byte

PARQUET_SUFFIXES: Final = (".parquet", ".pq")
PARQUET_MARK: Final = b"PAR1"
ARROW_SUFFIXES: Final = (".arrow", ".feather")
_ARROW_FILE_MARK: Final = b"ARROW1"

_BATCH_ROWS: Final = 1 << 14
_LOOKED_AT: Final = 256
"""Rows that tell whether a column of bytes is one of text."""


class _Reader(Protocol):
    """What is needed of a file; that of `pyarrow.parquet.ParquetFile`."""

    @property
    def schema_arrow(self) -> pa.Schema: ...

    @property
    def metadata(self) -> Any:
        """Has ``num_rows``."""

    def iter_batches(self, batch_size: int, columns: list[str]) -> Iterator[pa.RecordBatch]: ...


def scan_columnar(
    source: Source,
    dialect: Dialect,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
) -> TextFile | None:
    """Read Parquet or Arrow, see `builder.data.files.scan`."""
    path = source.path
    with _opened(source) as file:
        names: list[str] = file.schema_arrow.names
        if not check_header(path, names, problems):
            return None
        unread: set[str] = set()
        if wanted is None:
            unread = {name for name in names if _holds_no_text(file, name)}
        keep = [name for name in kept(names, wanted) if name not in unread]
        types = {name: file.schema_arrow.field(name).type for name in names}
        nested = {name for name in keep if _has_structs(types[name])}
        lists = {name for name, kind in types.items() if _is_list(kind) and not _has_structs(kind)}
        integers = {name for name in keep if _holds_only_integers(file, name)}
        faults: dict[str, Problems] = {}
        start = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=keep):
            columns = {}
            for name in keep:
                between = UNIT_SEPARATOR if name in dialect.apart else " "
                column, bad = _column_text(batch[name], between, integers=name in integers)
                columns[name] = column
                for row, fault in bad:
                    faults.setdefault(name, Problems()).add(
                        NOT_UTF8,
                        f"{path}:row {start + row}: {name}: {fault}; write the file as UTF-8",
                    )
            start += len(batch)
            take(Batch(len(batch), columns, start / file.metadata.num_rows))

    def places(numbers: Sequence[int]) -> list[str]:
        return [f"row {number + 1}" for number in numbers]

    return TextFile(
        path, names, places, faults, frozenset(nested), frozenset(unread), frozenset(lists)
    )


def first_rows(source: Source, rows: int) -> bytes:
    """A Parquet file of the first rows."""
    with _opened(source) as file:
        batches = file.iter_batches(rows, columns=file.schema_arrow.names)
        first = next(batches, None)
        sink = pa.BufferOutputStream()
        table = file.schema_arrow.empty_table() if first is None else pa.Table.from_batches([first])
        pyarrow.parquet.write_table(table, sink)
        return bytes(sink.getvalue())


@contextmanager
def _opened(source: Source) -> Iterator[_Reader]:
    packed = source.compression is not None
    if source.suffix in ARROW_SUFFIXES:
        opened = source.open() if packed else pa.memory_map(str(source.path))
        with opened:
            yield _ArrowFile(pa.BufferReader(opened.read()) if packed else opened)
        return
    file = pa.BufferReader(source.open().read()) if packed else source.path
    # A buffer is read at a time, and not all of a column that a group of rows has.
    with pyarrow.parquet.ParquetFile(file, buffer_size=1 << 20) as parquet:
        yield parquet


class _ArrowFile:
    """The stream or the file format of Arrow's messages; a reader goes through them once."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._is_file = file.read(len(_ARROW_FILE_MARK)) == _ARROW_FILE_MARK
        self.schema_arrow: pa.Schema = self._reader().schema
        # Its batches are read where they lie, so that counting them first costs little.
        rows = sum(len(batch) for batch in self.iter_batches(_BATCH_ROWS, []))
        self.metadata = SimpleNamespace(num_rows=rows)

    def iter_batches(self, batch_size: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        reader = self._reader()
        batches = reader
        if self._is_file:
            batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
        for batch in batches:
            chosen = batch.select(columns)
            yield from (chosen.slice(at, batch_size) for at in range(0, len(chosen), batch_size))

    def _reader(self) -> pa.RecordBatchStreamReader | pa.RecordBatchFileReader:
        self._file.seek(0)
        if self._is_file:
            return pyarrow.ipc.open_file(self._file)
        return pyarrow.ipc.open_stream(self._file)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def _has_structs(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return True
    return pa.types.is_nested(kind) and any(
        _has_structs(kind.field(place).type) for place in range(kind.num_fields)
    )


def _holds_no_text(file: _Reader, name: str) -> bool:
    """Whether a column is of bytes, such as pictures, most of which are not UTF-8."""
    if not _is_bytes(_value_type(file.schema_arrow.field(name).type)):
        return False
    first = next(file.iter_batches(_LOOKED_AT, columns=[name]), None)
    values = [] if first is None else [value for value in first[name].to_pylist() if value]
    return 2 * sum(bad_byte(value) is not None for value in values) > len(values)


def _holds_only_integers(file: _Reader, name: str) -> bool:
    """Whether a column is of floats, none of which has a fraction."""
    kind = _value_type(file.schema_arrow.field(name).type)
    if not pa.types.is_floating(kind):
        return False
    for batch in file.iter_batches(_BATCH_ROWS, columns=[name]):
        values = batch[name].cast(kind).cast(pa.float64())
        if pc.any(pc.and_(pc.is_finite(values), pc.not_equal(values, pc.floor(values)))).as_py():
            return False
    return True


def _column_text(
    column: pa.Array, between: str, *, integers: bool
) -> tuple[pa.Array, list[tuple[int, str]]]:
    """Return the text, and which rows (from 1) were not UTF-8 and why.

    ``between`` stands between the values of a list.
    """
    bad: list[tuple[int, str]] = []
    kind = _value_type(column.type)
    if kind != column.type:
        column = column.cast(kind)
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name != "arrow.uuid":
        column, kind = column.storage, kind.storage_type
    if pa.types.is_floating(kind):
        column = _float_text(column, integers=integers)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_bytes(kind):
        # Parquet does not check that its text is UTF-8.
        try:
            column = column.cast(TEXT)
            column.validate(full=True)
        except pa.ArrowException:
            column, bad = _repair(column)
    else:
        column = _any_text(column, between)
    return pc.fill_null(column, ""), bad


def _float_text(column: pa.Array, *, integers: bool) -> pa.Array:
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())  # pyarrow has no text of half floats
    column = pc.if_else(pc.is_finite(column), column, None)
    # A missing value turns whole numbers into floats in many tools; 1.0 was the id 1.
    return (column.cast(pa.int64()) if integers else column).cast(TEXT)


def _any_text(column: pa.Array, between: str) -> pa.Array:
    if not pa.types.is_nested(column.type) and not isinstance(column.type, pa.BaseExtensionType):
        try:
            return column.cast(TEXT)
        except pa.ArrowException:  # a type that pyarrow has no text of
            pass
    return pa.array([plain_text(value, between) for value in column.to_pylist()], TEXT)


def _repair(column: pa.Array) -> tuple[pa.Array, list[tuple[int, str]]]:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    values = [value or b"" for value in column.to_pylist()]
    bad = [
        (row, f"byte {value[offset]:#04x} at offset {offset:,} of the value is not UTF-8")
        for row, value in enumerate(values, start=1)
        if (offset := bad_byte(value)) is not None
    ]
    return pa.array([value.decode(errors="replace") for value in values], TEXT), bad
