"""Notices a quote that is part of a value, and is taken for the start of a quoted one.

Such a value goes on to the next quote of the file, and the rows between are lost in silence.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from builder.data.dialect import Reader, long_values, recorded


def swallowed(lines: Iterable[str], reader: Reader, columns: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last line of each row that seems to hold others."""
    raw: list[str] = []
    parsed = reader.parsed(recorded(lines, raw))
    with long_values():
        try:
            for _ in parsed:
                last = parsed.line_num
                if len(raw) > 1 and (
                    _breaks_the_rules(raw, reader) or _holds_rows(raw, reader, columns)
                ):
                    yield last - len(raw) + 1, last
                raw.clear()
        except csv.Error:  # a value is too long
            yield parsed.line_num - len(raw) + 1, parsed.line_num


def open_quote(header: str, reader: Reader) -> int | None:
    """The last line of a header of several lines that breaks the rules of quoting; else None."""
    raw = list(io.StringIO(header, newline=""))
    return len(raw) if len(raw) > 1 and _breaks_the_rules(raw, reader) else None


def _breaks_the_rules(raw: list[str], reader: Reader) -> bool:
    """Whether a value goes on after its closing quote, or has none."""
    try:
        list(reader.parsed(raw, strict=True))
    except csv.Error:
        return True
    return False


def _holds_rows(raw: list[str], reader: Reader, columns: int) -> bool:
    """Whether each line has as many separators as a row, as text with line breaks rarely has.

    Two lines of prose may well have a comma each.
    """
    separators = [line.count(reader.separator) for line in raw]
    return all(count == columns - 1 for count in separators) and (
        len(raw) > 2 or reader.separator not in ",;"
    )
