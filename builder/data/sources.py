"""Opens a file of any compression and encoding; what is inside is read as UTF-8."""

from __future__ import annotations

import codecs
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final

import pyarrow as pa

from builder.data.problems import NOT_UTF8, SHOWN_PER_KIND, Problems

COMPRESSED_SUFFIXES: Final = (".gz", ".bz2", ".zst", ".zip")
_COMPRESSIONS: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
)
_MARKS: Final = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A quote that ends a value has a separator or the end of the line after it.
_ESCAPED: Final = re.compile(rb'\\"[^"\s,;|^:]')
_CHUNK: Final = 1 << 20
_LINE: Final = 1 << 12
UNREADABLE: Final = (
    *(OSError, EOFError, NotImplementedError, pa.ArrowException),
    *(zlib.error, zipfile.BadZipFile),
)
"""What reading a file may raise."""
_UTF8: Final = "utf-8"
_ESCAPES: Final = frozenset(map(chr, range(0xDC80, 0xDD00)))  # of bytes from 0x80 on


@dataclass(frozen=True)
class Source:
    """A file, and how its bytes are packed, which its first bytes say and not its name.

    Attributes
    ----------
    suffix
        Of the file inside, in lower case: ``.csv`` for ``log.csv.gz``.
    opened
        The file as it was opened last.
    """

    path: Path
    suffix: str
    compression: str | None = None
    opened: list[Any] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, path: Path, problems: Problems) -> Source | None:
        """None means that ``problems`` says why there is nothing to read."""
        with path.open("rb") as file:
            start = file.read(4)
        compression = next((name for mark, name in _COMPRESSIONS if start.startswith(mark)), None)
        if compression != "zip":
            return cls(path, suffix_of(path), compression)
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
        problem = _archive_problem(members)
        if problem is not None:
            problems.add("archives that cannot be read", f"{path}: {problem}")
            return None
        return cls(path, PurePath(members[0].filename).suffix.lower(), compression)

    def open(self) -> pa.NativeFile:
        """The bytes inside, from the start."""
        if self.compression == "zip":
            archive = zipfile.ZipFile(self.path)
            self.opened[:] = [archive.fp]
            return pa.PythonFile(archive.open(_members(archive)[0]), mode="r")
        file = pa.OSFile(str(self.path))
        self.opened[:] = [file]
        if self.compression is None:
            return file
        return pa.CompressedInputStream(file, self.compression)

    def share(self) -> float:
        """How much of the file that was opened last is read, from 0 to 1."""
        if not self.opened:
            return 0.0
        try:
            read: int = self.opened[0].tell()
        except ValueError:  # pyarrow's too: it is closed, perhaps just now by the thread that reads
            return 1.0
        return min(read / max(self.path.stat().st_size, 1), 1.0)


def uncompressed(path: Path) -> Path:
    """The name of a file without the suffix of its compression."""
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED_SUFFIXES else path


def suffix_of(path: Path) -> str:
    """The suffix of a file, or of the one inside a compressed one, in lower case."""
    return uncompressed(path).suffix.lower()


def first_line(path: Path) -> str:
    """The first line, only to tell separators from; empty where the file cannot be read."""
    try:
        source = Source.of(path, Problems())
        if source is None:
            return ""
        with source.open() as file:
            start: bytes = file.read(_LINE)
        return start.decode("latin-1").partition("\n")[0]
    except UNREADABLE:
        return ""


def _archive_problem(members: list[zipfile.ZipInfo]) -> str | None:
    names = [each.filename for each in members]
    if "[Content_Types].xml" in names:
        return "this is an Office file; save it as CSV"
    if len(names) != 1:
        return (
            f"the archive holds {len(names)} files ({', '.join(names[:5])}); unpack it and name "
            "the one that is meant"
        )
    return "the archive is encrypted; unpack it" if members[0].flag_bits & 1 else None


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    # macOS adds a folder of its own beside each file.
    return [
        each
        for each in archive.infolist()
        if not each.is_dir() and not each.filename.startswith("__MACOSX/")
    ]


@dataclass(frozen=True)
class TextSource:
    """A source of text.

    Attributes
    ----------
    encoding
        Python's name of it; ``utf-8`` where the bytes can be handed on as they are.
    valid
        Whether all of it is text in this encoding; what is not is read as U+FFFD.
    marked
        Whether it begins with a byte order mark.
    has_quotes
        Whether there may be a double quote.
    escapes
        Whether a quote within a value has a backslash before it, as in the dumps of databases.
    """

    source: Source
    encoding: str
    valid: bool
    marked: bool
    has_quotes: bool
    escapes: bool = False

    @property
    def path(self) -> Path:
        return self.source.path

    @classmethod
    def of(
        cls, source: Source, encoding: str | None, other: str | None, problems: Problems
    ) -> TextSource | None:
        """Find the encoding and report bytes that are not of it, one in each line that has some.

        None means that there is no use in reading it.

        Parameters
        ----------
        encoding
            What the user said; a byte order mark says better. None: UTF-8.
        other
            What the text is in if it is not UTF-8 and nothing says what it is.
        """
        with source.open() as file:
            start = file.read(64)
        marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
        chosen: str = marked or codecs.lookup(encoding or _UTF8).name
        if chosen == "utf-8-sig":
            chosen = _UTF8
        if chosen == _UTF8 and (wide := _wide(start)) is not None:
            problems.add(
                NOT_UTF8,
                f"{source.path}:1: this is UTF-16 without a byte order mark; give "
                f"--encoding {wide}",
            )
            return None
        valid, quotes, escapes = _survey(source, chosen)
        if not valid and other is not None and marked is None and encoding is None:
            chosen = codecs.lookup(other).name
            valid, quotes, escapes = _survey(source, chosen)
        found = cls(source, chosen, valid, marked is not None, quotes, escapes)
        if not valid:
            found._report_bad_bytes(problems)
        return found

    @property
    def is_plain(self) -> bool:
        """Whether what is inside can be handed on as it is."""
        return self.valid and self.encoding == _UTF8

    def open(self, errors: str = "replace") -> io.TextIOWrapper:
        """The text, without a byte order mark, with its line ends as they are."""
        encoding = "utf-8-sig" if self.encoding == _UTF8 else self.encoding
        stream: Any = self.source.open()
        buffered = io.BufferedReader(stream, _CHUNK)
        return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")

    def after(self, text: str) -> pa.NativeFile:
        """The UTF-8 bytes that follow on this text, with which a valid UTF-8 source begins."""
        file = self.source.open()
        skipped = len(text.encode()) + (len(codecs.BOM_UTF8) if self.marked else 0)
        file.read(skipped)
        return file

    def lines(self) -> int:
        """How many line ends there are."""
        feeds = returns = 0
        with self.source.open() as file:
            while data := file.read(_CHUNK):
                feeds += data.count(b"\n")
                returns += data.count(b"\r")
        return max(feeds, returns)

    def _report_bad_bytes(self, problems: Problems) -> None:
        kind = f"text that is not {self.encoding.upper()}"
        if self.encoding != _UTF8:
            problems.add(
                kind,
                f"{self.path}: some of its bytes are not {self.encoding.upper()}; name another "
                "encoding with --encoding",
            )
            return
        shown: list[str] = []
        found: set[str] = set()  # bytes that are not UTF-8, as Python escapes them
        count, start = 0, len(codecs.BOM_UTF8) if self.marked else 0
        with self.open(errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                data = line.encode(errors="surrogateescape")
                offset = bad_byte(data)
                if offset is not None:
                    count += 1
                    found |= _ESCAPES.intersection(line)
                    if len(shown) < SHOWN_PER_KIND:
                        shown.append(
                            f"{self.path}:{number}: byte {data[offset]:#04x} at offset "
                            f"{start + offset:,} of the file is not UTF-8"
                        )
                start += len(data)
        advice = f"save the file as UTF-8, or name its encoding, as in --encoding {_likely(found)}"
        problems.add_all(kind, [f"{each}; {advice}" for each in shown], count)


class Utf8(io.RawIOBase):
    """Parts of a text as a stream of UTF-8 bytes."""

    def __init__(self, parts: Iterator[str]) -> None:
        self._parts = parts
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = part.encode()
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _likely(escapes: Collection[str]) -> str:
    """The encoding of western text with these bytes; of 0x80 to 0x9f, Latin-1 has no letters."""
    data = "".join(escapes).encode("utf-8", "surrogateescape")
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252" if any(byte < 0xA0 for byte in data) else "latin-1"


def bad_byte(value: bytes) -> int | None:
    """The offset of the first byte that is not UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _wide(start: bytes) -> str | None:
    """Which UTF-16 these bytes are: half of the bytes of western text are zero."""
    low, high = start[::2].count(0), start[1::2].count(0)
    if not low + high or 2 * max(low, high) < len(start) // 2:
        return None
    return "utf-16-be" if low > high else "utf-16-le"


def _survey(source: Source, encoding: str) -> tuple[bool, bool, bool]:
    """Whether all is text of this encoding, and whether there may be quotes, and escaped ones."""
    decoder = codecs.getincrementaldecoder(encoding)()
    valid, quotes, escapes = True, False, False
    with source.open() as file:
        while data := file.read(_CHUNK):
            valid = valid and _decodes(decoder, data)
            quotes = quotes or b'"' in data
            escapes = escapes or (b'\\"' in data and _ESCAPED.search(data) is not None)
    return valid and _decodes(decoder, b"", final=True), quotes, escapes


def _decodes(decoder: codecs.IncrementalDecoder, data: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(data, final)
    except UnicodeError:
        return False
    return True
