"""Delimited text: pyarrow reads the rows, Python's csv the header and where the rows stand.

Both get the same text, from the same place on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from builder.data.dialect import Dialect, Reader, find_separator, recorded
from builder.data.problems import SHOWN_PER_KIND, SWALLOWED, WRONG_LENGTH, Problems
from builder.data.quotes import open_quote, swallowed
from builder.data.rows import (
    TEXT,
    UNIT_SEPARATOR,
    Batch,
    TextFile,
    check_header,
    kept,
    numbered,
    pick,
)
from builder.data.sources import Source, TextSource, Utf8

RECBOLE_SUFFIXES: Final = (".inter", ".item", ".user")
DELIMITED_SUFFIXES: Final = (".csv", ".tsv", ".dat", ".data", ".txt", "")
_RECBOLE_LIST: Final = "_seq"
_USUAL: Final = {".csv": ",", ".tsv": "\t", **dict.fromkeys(RECBOLE_SUFFIXES, "\t")}
_NOTES: Final = ("#", "sep=")  # Excel's sep=; says what separates the values
_FIRST_LINES: Final = 64
_PART: Final = 1 << 16


def scan_delimited(
    source: Source,
    dialect: Dialect,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
    block_bytes: int,
) -> TextFile | None:
    """Read delimited text, see `builder.data.files.scan`."""
    text = TextSource.of(source, dialect.encoding, dialect.other_encoding, problems)
    if text is None:
        return None
    recbole = source.suffix in RECBOLE_SUFFIXES
    reader = _reader(text, dialect, recbole=recbole)
    names, header = list(dialect.names), ""
    lists = set[str]()
    if not names:
        names, header = _header(text, reader)
        if reader.quoted and (last := open_quote(header, reader)) is not None:
            problems.add(SWALLOWED, _quote_problem(source.path, 1, last))
            return None
        if recbole:
            lists = {_untyped(name) for name in names if name.endswith(_RECBOLE_LIST)}
            names = [_untyped(name) for name in names]
    if not check_header(source.path, names, problems):
        return None
    rows = _Rows(text, dialect, reader, names, header, frozenset(lists))
    return rows.scan(wanted, problems, take, block_bytes)


def first_row(source: Source, dialect: Dialect) -> list[str]:
    """The values of the first row, which may be a header."""
    text = TextSource.of(source, dialect.encoding, dialect.other_encoding, Problems())
    return [] if text is None else _header(text, _reader(text, dialect, recbole=False))[0]


@dataclass(frozen=True)
class _Rows:
    text: TextSource
    dialect: Dialect
    reader: Reader
    names: list[str]
    header: str
    lists: frozenset[str]

    def scan(
        self,
        wanted: Collection[str] | None,
        problems: Problems,
        take: Callable[[Batch], None],
        block_bytes: int,
    ) -> TextFile | None:
        count = malformed = 0

        def skip(_row: object) -> str:
            nonlocal malformed
            malformed += 1
            return "skip"

        try:
            for batch in self._batches(wanted, block_bytes, skip):
                take(batch)
                count += batch.rows
        except pa.ArrowInvalid as error:
            if not self._report_quotes(problems):
                problems.add(
                    "unreadable file",
                    f"{self.text.path}: cannot be read: {error}; shorten rows of more than "
                    f"{block_bytes:,} bytes, or give --quote none if quotes are part of the values",
                )
            return None
        if self.text.has_quotes and self.text.lines() > count + malformed + 1:
            self._report_quotes(problems)
        if malformed:
            self._report_lengths(problems, malformed)
        return TextFile(self.text.path, self.names, self._places, lists=self.lists)

    def _batches(
        self, wanted: Collection[str] | None, block_bytes: int, skip: Callable[[object], str]
    ) -> Iterator[Batch]:
        stream = self._stream()
        if stream is None:
            return
        with (
            stream,
            pyarrow.csv.open_csv(
                stream,
                pyarrow.csv.ReadOptions(column_names=self.names, block_size=block_bytes),
                pyarrow.csv.ParseOptions(
                    delimiter=self.reader.delimiter,
                    quote_char='"' if self.reader.quoted else False,
                    escape_char=self.reader.escape or False,
                    newlines_in_values=self.reader.quoted,
                    invalid_row_handler=skip,
                ),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, TEXT),
                    include_columns=kept(self.names, wanted),
                    strings_can_be_null=False,
                ),
            ) as batches,
        ):
            for batch in batches:
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                for name in self.lists & self.dialect.apart & columns.keys():
                    columns[name] = pc.replace_substring(columns[name], " ", UNIT_SEPARATOR)
                yield Batch(len(batch), columns, self.text.source.share())

    def _stream(self) -> pa.NativeFile | None:
        """The rows as UTF-8 bytes, None if there are none."""
        with self.text.open() as file:
            file.read(len(self.header))
            if all(part.isspace() for part in iter(lambda: file.read(_PART), "")):
                return None
        if self.text.is_plain and self.reader.is_plain and not self.reader.escape:
            return self.text.after(self.header)

        def parts() -> Iterator[str]:
            with self.text.open() as file:
                file.read(len(self.header))
                while part := file.read(_PART):
                    yield self.reader.plain(part + file.readline())

        return pa.PythonFile(Utf8(parts()), mode="r")

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        with self.text.open() as lines:
            of_header = sum(1 for _ in self.reader.rows(io.StringIO(self.header, newline="")))
            yield from islice(self.reader.rows(lines), of_header, None)

    def _places(self, numbers: Sequence[int]) -> list[str]:
        width = len(self.names)
        return pick((line for line, values in self._rows() if len(values) == width), numbers)

    def _report_lengths(self, problems: Problems, count: int) -> None:
        known = "--columns names" if self.dialect.names else "the header has"
        advice = "add or remove values"
        if self.reader.quoted:
            advice += ", quote the one that holds the separator"
        advice += ", or give --on-bad-rows drop"
        broken = (
            f"{self.text.path}:{line}: {len(values)} values where {known} {len(self.names)} "
            f"columns; {advice}"
            for line, values in self._rows()
            if len(values) != len(self.names)
        )
        shown = list(islice(broken, SHOWN_PER_KIND))
        problems.add_all(WRONG_LENGTH, shown, count)

    def _report_quotes(self, problems: Problems) -> bool:
        """Report quotes that seem to be part of a value; whether there are any."""
        if self.dialect.quote != "auto" or not self.reader.quoted:
            return False
        with self.text.open() as lines:
            found = list(swallowed(lines, self.reader, len(self.names)))
        if found:
            shown = [_quote_problem(self.text.path, *each) for each in found[:SHOWN_PER_KIND]]
            problems.add_all(SWALLOWED, shown, len(found))
        return bool(found)


def _quote_problem(path: Path, first: int, last: int) -> str:
    return (
        f"{path}:{first}: a quote opens a value here that goes on to line {last:,}, over what "
        "looks like rows; if quotes are part of the values give --quote none, if values have line "
        "breaks give --quote double"
    )


def _reader(text: TextSource, dialect: Dialect, *, recbole: bool) -> Reader:
    quoted = dialect.quote == "double" or (dialect.quote == "auto" and not recbole)
    separator = dialect.separator
    if separator is None:
        usual = _USUAL.get(text.source.suffix)
        separator = find_separator(_first_lines(text), usual, quoted=quoted)
    return Reader(separator, quoted and len(separator) == 1 and separator != " ", text.escapes)


def _untyped(name: str) -> str:
    """A name of RecBole's without its type: ``item_id`` for ``item_id:token``."""
    return name.rpartition(":")[0] or name


def _first_lines(text: TextSource) -> list[str]:
    with text.open() as file:
        start = file.read(_PART)
        lines = [line for line in io.StringIO(start, newline="") if not line.isspace()]
        lines = [line for line in lines if not line.startswith(_NOTES)] or lines
        whole = lines if file.read(1) == "" else lines[:-1] or lines
    return whole[:_FIRST_LINES]


def _header(text: TextSource, reader: Reader) -> tuple[list[str], str]:
    """The names of the columns, and all text up to the end of the header.

    Lines of notes may stand before it, which have fewer values.
    """
    read: list[str] = []
    with text.open() as file:
        try:
            rows = reader.rows(recorded(file, read))
            names, header = next(rows, (1, []))[1], "".join(read)
            after = names
            while after and after[0].startswith(_NOTES):
                after = next(rows, (1, []))[1]
            if len(after) > len(names) or names[:1] == ["sep="]:
                names, header = after, "".join(read)
        except csv.Error:  # too long, for want of a closing quote
            return [], "".join(read)
    return [
        name or number for name, number in zip(names, numbered(len(names)), strict=True)
    ], header
