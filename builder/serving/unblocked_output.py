"""Output that never keeps a server waiting, nor ends it.

A pipe that nobody reads, as of a log driver that hangs, blocks whoever writes to it. A full disk
refuses what is written. Neither may reach the thread that watches the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from typing import Final, Self

import typer

_WAITING: Final = 10_000
"""Lines that wait for their reader at most; later ones are lost."""
_PATIENCE: Final = 1.0
"""Seconds that a reader is waited for."""


class _Waiting(logging.Handler):
    """Leaves lines to a thread of its own, which may be kept waiting."""

    def __init__(self, handlers: list[logging.Handler]) -> None:
        super().__init__()
        self._handlers = handlers
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(record)

    def end(self) -> bool:
        """Write what waits; False where nobody reads it."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(_PATIENCE)
        return not self._thread.is_alive()

    def _write(self) -> None:
        while (record := self._lines.get()) is not None:
            for handler in self._handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)


class UnblockedOutput:
    """Within its block lines are logged, and said on stdout, by threads that may be kept waiting.

    Where nobody reads them, the process ends with the block: at its own end Python would wait for
    the reader. Its exit code is then 0, or 2 after an exception.
    """

    def __init__(self) -> None:
        self._root = logging.getLogger()
        self._handlers = self._root.handlers
        self._stuck = False

    def __enter__(self) -> Self:
        self._waiting = _Waiting(self._handlers)
        self._root.handlers = [self._waiting]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._root.handlers = self._handlers
        if not self._waiting.end() or self._stuck:
            os._exit(0 if kind is None else 2)

    def say(self, text: str) -> None:
        """Write lines to stdout, where they can be written."""
        writing = threading.Thread(target=_say, args=(text,), name="stdout", daemon=True)
        writing.start()
        writing.join(_PATIENCE)
        self._stuck |= writing.is_alive()


def _say(text: str) -> None:
    try:
        typer.echo(text)
        sys.stdout.flush()
    except OSError:  # a full disk, or a reader that left; Python's end would fail by it again
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
