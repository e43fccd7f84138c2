"""`LiveCounts` as a file that the processes of one server map.

It lies in the temporary directory and ends with its server. ``serve`` gives each server a
directory of its own, which it deletes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..core.live_trend import LiveCounts
from ..core.trend import Trend

_MAGIC: Final = int.from_bytes(b"TREND-01", "little")
_HEADER: Final = 8
"""Numbers of 8 bytes before the levels: magic, number of items, time constant, and `LiveCounts`'
state at the end."""
_STATE: Final = slice(6, _HEADER)
_LOOK_EVERY: Final = 0.25
"""Seconds between two looks whether there is a new file."""


def live_counts_path(version: int) -> Path:
    """Where the models of one version and one server find the file."""
    server = os.getppid()  # of the stubs of all models
    # After a restart of a container another server may have the same number.
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{server}/stat").read_text("utf-8").rpartition(")")[2].split()
        return Path(tempfile.gettempdir(), f"tritonrec-trend-{server}-{fields[19]}-{version}")
    return Path(tempfile.gettempdir(), f"tritonrec-trend-{server}-{version}")


def create_live_counts(path: Path, trend: Trend) -> LiveCounts:
    """Make the counts of the one process that writes them; `publish` shows them to others."""
    size = len(trend.level)
    with _hidden(path).open("wb+") as file:
        file.truncate(8 * (_HEADER + size))
        whole = np.asarray(np.memmap(file, np.int64, "r+"))
    whole[:_HEADER] = _header(trend)
    counts = _counts(whole)
    counts.level[:] = trend.level
    counts.state[:] = 0, trend.until
    return counts


def publish_live_counts(path: Path) -> None:
    """Put the file where `LiveCountsFile` looks, in place of an earlier one."""
    _hidden(path).replace(path)


class LiveCountsFile:
    """Finds the counts that another process writes; called, it returns them, or None.

    Parameters
    ----------
    trend
        What was exported; a file of another one is not read.
    """

    def __init__(
        self, path: Path, trend: Trend, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._header = _header(trend)
        self._clock = clock
        self._found: LiveCounts | None = None
        self._file = 0, 0
        self._next_look = 0.0

    def __call__(self) -> LiveCounts | None:
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            self._look()
        return self._found

    def _look(self) -> None:
        try:
            status = self._path.stat()
            if (status.st_dev, status.st_ino) == self._file:
                return
            whole = np.asarray(np.memmap(self._path, np.int64, "r"))
        except OSError:  # it is not there yet; what was found stays mapped
            return
        self._file = status.st_dev, status.st_ino
        if np.array_equal(whole[: _STATE.start], self._header[: _STATE.start]):
            self._found = _counts(whole)


def _counts(whole: NDArray[np.int64]) -> LiveCounts:
    return LiveCounts(whole[_STATE], whole[_HEADER:].view(np.float64))


def _header(trend: Trend) -> NDArray[np.int64]:
    header: NDArray[Any] = np.zeros(_HEADER, np.int64)
    header[:2] = _MAGIC, len(trend.level)
    header[2:3] = np.array([trend.time_constant]).view(np.int64)
    return header


def _hidden(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")
