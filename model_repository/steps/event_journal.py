"""The journal: events on disk, so that a restart and a new version of the model know them.

A directory holds two segments at most, of 32 MiB each: ``journal`` is written, ``journal.old`` was
before. Where the first is full it takes the place of the second, whose events are forgotten: they
are the oldest, and count for least. A segment is ``_HEAD`` and records, each its length and CRC-32
(4 bytes each, little endian), then the time of the event and the end of the log that the serving
model was made of (8 bytes each), the lengths of item, action and event id (2 bytes each), and
these three.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..core.contract import LONGEST_EVENT_VALUE, MOST_VALUES
from ..core.events import Event

SEGMENT: Final = 32 * 2**20
"""Bytes of a segment."""

_HEAD: Final = b"tritonrec-events-1\n"
_RECORD: Final = struct.Struct("<II")
_FIELDS: Final = struct.Struct("<qqHHH")
_LENGTHS: Final = _RECORD.size + struct.calcsize("<qq")
"""Bytes of a record before the lengths of its three values."""
_LONGEST: Final = _FIELDS.size + 3 * LONGEST_EVENT_VALUE
"""Bytes of the content of a record, at most."""
_STRETCH: Final = 2**20
"""Places of a damaged segment that are looked through at once."""
_SYNC_EVERY: Final = 1.0
"""Seconds: what a machine loses that loses its power. A process that dies loses nothing."""


class JournalUnusable(OSError):  # noqa: N818  (it names a state of the files)
    """Another server writes the journal, or files are not those of one."""


class EventJournal:
    """The events that one server is told of.

    Parameters
    ----------
    directory
        Made if it is not there.
    complain
        Is told what is lost, in words.

    Raises
    ------
    OSError
        The directory cannot be written, or another server writes there.
    """

    def __init__(
        self, directory: Path, complain: Callable[[str], object], segment: int = SEGMENT
    ) -> None:
        self._directory = directory
        self._complain = complain
        self._segment = segment
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file, self._size = self._opened()
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, BlockingIOError):
                raise JournalUnusable(f"another server keeps its events in {directory}") from error
            raise
        self._failing = False
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self._files = threading.Lock()  # against closing a file that is being synchronised
        self._thread = threading.Thread(target=self._synchronise, daemon=True)
        self._thread.start()

    def read(self) -> Iterator[tuple[Event, int]]:
        """Every event that is kept, oldest first, and the end of the log of the model then."""
        for path in (self._old, self._current):
            if path.exists():
                yield from _records(path.read_bytes())

    def append(self, events: Sequence[Event], until: int) -> int:
        """Keep events; ``until`` is the end of the log of the serving model, in Unix seconds.

        What cannot be written is lost, and complained of. Returns how many events are kept.
        """
        kept = 0
        try:
            for start in range(0, len(events), MOST_VALUES):
                part = events[start : start + MOST_VALUES]
                self._write(b"".join(_record(event, until) for event in part))
                kept += len(part)
        except OSError as error:
            if not self._failing:
                self._complain(
                    "events are counted and not kept, so a restart will not know them: "
                    f"{self._current} cannot be written ({error.strerror}); free some space there"
                )
            self._failing = True
        else:
            self._failing = False
        return kept

    def close(self) -> None:
        """Write no more; what was appended is on the disk then."""
        self._closing.set()
        self._dirty.set()
        self._thread.join()
        os.close(self._file)
        os.close(self._lock)

    @property
    def _current(self) -> Path:
        return self._directory / "journal"

    @property
    def _old(self) -> Path:
        return self._directory / "journal.old"

    def _opened(self) -> tuple[int, int]:
        """Open the current segment and cut off a record that was not written to its end."""
        found = self._current.read_bytes() if self._current.exists() else b""
        sound, damaged = _sound(found)
        if damaged:
            self._complain(
                f"{damaged} bytes within {self._current} are damaged and left out; the events "
                "before and behind them are kept"
            )
        if cut := len(found) - sound:
            self._complain(f"the last {cut} bytes of {self._current} are {_why_cut(cut)}")
        file = os.open(self._current, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        os.ftruncate(file, sound)
        return file, sound

    def _write(self, records: bytes) -> None:
        if self._size and self._size + len(records) > self._segment:
            self._turn()
        content = records if self._size else _HEAD + records
        taken = 0
        try:
            taken = os.write(self._file, content)
        finally:
            if taken < len(content):  # a part of a record must not stay
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._size)
        if taken < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(content)
        self._dirty.set()

    def _turn(self) -> None:
        """Begin a new segment in place of the old one."""
        os.fsync(self._file)
        with contextlib.suppress(FileNotFoundError):  # it came to this before, and no further
            self._current.replace(self._old)
        file = _open(self._current)
        with self._files:
            os.close(self._file)
            self._file = file
        self._size = 0

    def _synchronise(self) -> None:
        while not self._closing.wait(_SYNC_EVERY):
            self._dirty.wait()
            self._dirty.clear()
            self._sync()
        self._sync()

    def _sync(self) -> None:
        with self._files, contextlib.suppress(OSError):  # a full disk is found by the next write
            os.fsync(self._file)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def _record(event: Event, until: int) -> bytes:
    texts = event.item, event.action, event.id
    content = _FIELDS.pack(event.time, until, *map(len, texts)) + b"".join(texts)
    return _RECORD.pack(len(content), crc32(content)) + content


def _records(content: bytes) -> Iterator[tuple[Event, int]]:
    for start, _ in _whole(content):
        time, until, item, action, name = _FIELDS.unpack_from(content, start)
        place = start + _FIELDS.size
        ends = place + item, place + item + action, place + item + action + name
        yield (
            Event(
                content[place : ends[0]],
                time,
                content[ends[0] : ends[1]],
                content[ends[1] : ends[2]],
            ),
            until,
        )


def _sound(content: bytes) -> tuple[int, int]:
    """Up to which byte of a segment there are whole records, and the damaged bytes before it."""
    start = sound = _first(content)
    whole = 0
    for record in _whole(content):
        sound = record[1]
        whole += _RECORD.size + record[1] - record[0]
    return sound, sound - start - whole


def _why_cut(count: int) -> str:
    """What is said of so many bytes at the end of a segment."""
    if count < _RECORD.size + _LONGEST:
        return (
            "no whole events and are cut off: the machine, or the disk, failed while they were "
            "written"
        )
    return (
        "cut off: no whole event is among them. They are more than one event takes, so what was "
        "there was damaged, and its events are lost; check the disk"
    )


def _first(content: bytes) -> int:
    """Where the records begin: at once where the head itself is damaged."""
    return len(_HEAD) if content.startswith(_HEAD) else 0


def _whole(content: bytes) -> Iterator[tuple[int, int]]:
    """Where the contents of whole records begin and end, those behind damaged bytes too."""
    place = _first(content)
    while found := _next(content, place):
        yield found
        place = found[1]
    # A record has no mark, but its lengths and checksum fit nowhere else.
    for likely in _likely(content, place + 1):
        if likely >= place and (found := _next(content, likely)):
            yield found
            place = found[1]


def _likely(content: bytes, place: int) -> Iterator[int]:
    """The places, from one on, where the lengths are those of a record."""
    end = len(content) - _RECORD.size - _FIELDS.size + 1
    for start in range(place, end, _STRETCH):
        count = min(_STRETCH, end - start)
        length = _numbers(content, start, count, "<u4")
        values = sum(
            _numbers(content, start + _LENGTHS + 2 * each, count, "<u2").astype(np.uint32)
            for each in range(3)
        )
        fits = (length == values + np.uint32(_FIELDS.size)) & (length <= _LONGEST)
        yield from (np.flatnonzero(fits) + start).tolist()


def _numbers(content: bytes, start: int, count: int, kind: str) -> NDArray[np.unsignedinteger[Any]]:
    """The numbers that begin at each of ``count`` bytes."""
    return np.ndarray((count,), kind, content, start, (1,))


def _next(content: bytes, place: int) -> tuple[int, int] | None:
    """Where the content of the record at a place begins and ends; None if it is not whole."""
    start = place + _RECORD.size
    if start > len(content):
        return None
    length, checked = _RECORD.unpack_from(content, place)
    end = start + length
    if end > len(content) or length < _FIELDS.size:
        return None
    if length != _FIELDS.size + sum(_FIELDS.unpack_from(content, start)[2:]):
        return None
    if crc32(content[start:end]) != checked:
        return None
    return start, end
