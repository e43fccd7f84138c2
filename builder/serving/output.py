"""Triton's output: forwarded to ``logging``, and searched for the reason of a failure.

A line is ``I1124 05:03:49.425390 4441 model_lifecycle.cc:472] "loading: bad:1"``: level, time,
process, source, message. Anything else comes from a Python model or a library.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

_logger = logging.getLogger("builder.serving.triton")

_LINE: Final = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ \d+ ([\w.]+):\d+\] ?(.*)")
_LEVELS: Final = {
    "I": logging.INFO,
    "W": logging.WARNING,
    "E": logging.ERROR,
    "F": logging.CRITICAL,
}
# What a machine without a GPU is told at every start.
_GPU_NOISE: Final = (
    "CUDA driver version is insufficient",
    "no pinned memory pool",
    "CUDA memory pool disabled",
    "CudaDriverHelper has not been initialized",
    "Failed to initialize NVML",
    "DCGM unable to start",
)
_UNPREFIXED_ERROR: Final = re.compile(
    r"error: |\[libprotobuf ERROR|Traceback |.*error while loading shared libraries"
    r"|.*tritonserver: (?:unrecognized )?option "
)
# Each says again what another line says better.
_REPEATED: Final = ("ERROR: Failed to create instance", "error: creating server")
_TABLE: Final = ("+-", "| ")


@dataclass(frozen=True, slots=True)
class Line:
    level: int
    message: str


def parse_line(text: str, *, gpu: bool) -> Line:
    """Read one line of output; without a ``gpu``, the complaints about it are only DEBUG."""
    match = _LINE.fullmatch(text)
    if match:
        level, message = _LEVELS[match[1]], _unquote(match[3])
    elif _UNPREFIXED_ERROR.match(text):
        level, message = logging.ERROR, text
    else:
        level, message = logging.INFO, text
    if not message.strip() or message.startswith(_TABLE):
        level = logging.DEBUG
    if not gpu and any(noise in message for noise in _GPU_NOISE):
        level = logging.DEBUG
    return Line(level, message)


class OutputReader:
    """Reads a server's output in a thread of its own, until the last writer closes it."""

    def __init__(self, stream: IO[str], *, replace: tuple[str, str]) -> None:
        self._stream = stream
        self._replace = replace
        self._gpu = Path("/dev/nvidiactl").exists()
        self._lines: deque[Line] = deque(maxlen=500)
        self._errors: list[str] = []
        self._loading: set[str] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="triton-output", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait until everything was read; close the stream if so."""
        self._thread.join(timeout)

    def reason(self) -> str:
        """Say why the server does not work, in its own words, one reason per line."""
        with self._lock:
            errors = [text for text in self._errors if not text.startswith(_REPEATED)]
            errors = errors or self._errors
            waiting = sorted(self._loading)
            tail = [line.message for line in self._lines if line.level > logging.DEBUG][-15:]
        if waiting and not errors:
            errors = [f"still loading: {', '.join(waiting)}; the last output was:", *tail]
        return "\n  ".join(dict.fromkeys(errors or tail)) or "it printed nothing"

    def _read(self) -> None:
        with contextlib.suppress(ValueError), self._stream:
            for raw in self._stream:
                line = parse_line(raw.rstrip("\n").replace(*self._replace), gpu=self._gpu)
                with self._lock:
                    self._lines.append(line)
                    self._note(line)
                _logger.log(line.level, "%s", line.message)

    def _note(self, line: Line) -> None:
        if line.level >= logging.ERROR and len(self._errors) < 100:
            self._errors.append(line.message)
        if match := re.match(r"loading: (.+):(\d+)$", line.message):
            self._loading.add(match[1])
        elif match := re.match(r"(?:successfully loaded|failed to load) '(.+?)'", line.message):
            self._loading.discard(match[1])


def _unquote(message: str) -> str:
    r"""Undo the quoting of a message, in which a line break is written ``\n``."""
    if message.startswith('"') and message.endswith('"'):
        with contextlib.suppress(ValueError):
            return str(json.loads(message))
    return message
