"""How the text of a file is written: what nobody says is found from its first lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from builder.data.rows import UNIT_SEPARATOR

Quote = Literal["auto", "double", "none"]
ENCODING: Final[Mapping[str, Any]] = {
    "meaning": "Encoding of text files, as in latin-1. Default: UTF-8, or what a byte order mark "
    "says.",
    "metavar": "NAME",
}
SEPARATOR: Final[Mapping[str, Any]] = {
    "meaning": r"What separates the values of delimited text, as in '::' or '\t'. Default: found "
    "from the first lines of each file.",
    "metavar": "TEXT",
}
QUOTE: Final[Mapping[str, Any]] = {
    "meaning": "Whether values of delimited text may stand in double quotes: none, double, or "
    "auto, which refuses a quote that seems to be part of a value.",
}
"""Options that every command has that reads a file."""
SEPARATORS: Final = ("::", "\t", ",", ";", "|", "^")
_SPACE: Final = " "
_SPACES: Final = re.compile(r"[ \t]+")
_ENDS: Final = re.compile(r"^[ \t]+|[ \t]+(?=[\r\n]|$)", re.MULTILINE)
_BACKSLASH: Final = re.compile(r"""\\(["\\])|\\""")
_LONGEST_VALUE: Final = 1 << 24  # in characters
_STAND_IN: Final = UNIT_SEPARATOR  # of a separator that pyarrow cannot take
_SPOKEN: Final = {"\\t": "\t", "tab": "\t"}


@dataclass(frozen=True)
class Dialect:
    """What is known of a file before it is opened.

    Attributes
    ----------
    encoding
        As the user said it; None is UTF-8, or what a byte order mark says.
    other_encoding
        That of text which is not UTF-8, where the data set's format has one.
    separator
        None: found from the first lines.
    quote
        ``auto``: values may be quoted, and a quote that seems to be part of a value is an error.
    names
        The columns of a file without a header; none where there is one.
    key
        The column of the ids by which a JSON file may have its rows; None: it has them in a list.
    apart
        Columns whose lists become text with `UNIT_SEPARATOR` between their values, which may have
        spaces. In those of others there are spaces.
    """

    encoding: str | None = None
    other_encoding: str | None = None
    separator: str | None = None
    quote: Quote = "auto"
    names: tuple[str, ...] = ()
    key: str | None = None
    apart: frozenset[str] = frozenset()


ANY_DIALECT: Final = Dialect()


def spoken(separator: str | None) -> str | None:
    r"""The separator that a user means; a shell makes it hard to write a tab other than ``\t``."""
    return None if separator is None else _SPOKEN.get(separator.lower(), separator)


def dialect_problems(encoding: str | None, separator: str | None, quote: str) -> list[str]:
    """What is wrong with the options of a file's text."""
    problems = []
    if encoding is not None and not _is_encoding(encoding):
        problems.append(
            f"encoding {encoding!r}: there is no such encoding of text; give one such as "
            "latin-1, cp1252 or utf-16"
        )
    separator = spoken(separator)
    if separator is not None and (not separator or set(separator) & set('"\r\n')):
        problems.append(
            f"separator {separator!r}: must be text without quotes and line breaks, as in ';'"
        )
    elif separator is not None and len(separator) > 1 and quote == "double":
        problems.append(
            f"separator {separator!r}: values in quotes need a separator of one character; "
            "give that, or quote none"
        )
    return problems


def _is_encoding(name: object) -> bool:
    try:
        return isinstance(name, str) and "".encode(name) is not None
    except (LookupError, ValueError):
        return False


@dataclass(frozen=True)
class Reader:
    """Splits lines into values, as pyarrow does with ``delimiter``, ``quoted`` and ``escape``.

    A space as the separator stands for any number of spaces and tabs.
    """

    separator: str
    quoted: bool
    escapes: bool = False

    @property
    def escape(self) -> str | None:
        """What stands before a quote that is part of a value, and before itself."""
        return "\\" if self.quoted and self.escapes else None

    @property
    def delimiter(self) -> str:
        return self.separator if self.is_plain else _STAND_IN

    @property
    def is_plain(self) -> bool:
        """Whether pyarrow takes the separator as it is."""
        return len(self.separator) == 1 and self.separator.isascii() and self.separator != _SPACE

    def plain(self, text: str) -> str:
        """Lines as pyarrow and Python's csv take them."""
        if self.escape:
            # Else they take it away before anything, as in \N and EU\west.
            text = _BACKSLASH.sub(lambda found: found[0] if found[1] else "\\\\", text)
        if self.separator == _SPACE:
            return _SPACES.sub(_STAND_IN, _ENDS.sub("", text))
        return text if self.is_plain else text.replace(self.separator, _STAND_IN)

    def parsed(self, lines: Iterable[str], *, strict: bool = False) -> Any:
        """Python's reader of these lines, an iterator of rows; ``strict`` raises `csv.Error`."""
        return csv.reader(
            map(self.plain, lines),
            delimiter=self.delimiter,
            escapechar=self.escape,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            strict=strict,
        )

    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line number and the values of each row; empty lines are no rows.

        Raises
        ------
        csv.Error
            A value that is too long.
        """
        with long_values():
            reader = self.parsed(lines)
            line = 1
            for values in reader:
                if values:
                    yield line, values
                line = reader.line_num + 1


@contextmanager
def long_values() -> Iterator[None]:
    """Let Python's reader take values that are as long as descriptions may be."""
    limit = csv.field_size_limit(_LONGEST_VALUE)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def recorded(lines: Iterable[str], into: list[str]) -> Iterator[str]:
    """Hand on the lines, and keep those that were asked for."""
    for line in lines:
        into.append(line)
        yield line


def find_separator(lines: list[str], usual: str | None, *, quoted: bool) -> str:
    """The separator of the first lines of a file.

    It is the usual one of the kind of file if the first line has it, else the one that splits most
    lines alike.
    """
    counts = {separator: _counts(lines, separator, quoted=quoted) for separator in SEPARATORS}
    if usual is not None and (not counts[usual] or counts[usual][0] > 1):
        return usual
    fitting = [separator for separator, found in counts.items() if found and found[0] > 1]

    def agreeing(separator: str) -> tuple[int, int]:
        found = counts[separator]
        return sum(count == found[0] for count in found), found[0]

    if not fitting and usual is None and lines:
        spaced = _counts(lines, _SPACE, quoted=False)
        if spaced and len(set(spaced)) == 1 < spaced[0]:
            return _SPACE
    return max(fitting, key=agreeing, default=usual or ",")


def _counts(lines: list[str], separator: str, *, quoted: bool) -> list[int]:
    reader = Reader(separator, quoted and len(separator) == 1)
    return [len(values) for _, values in reader.rows(lines)]
