"""The access log: a line of JSON for a share of the requests that models were asked.

It is off unless the environment says where it goes, see `from_environment`; ``serve --access-log``
does. A line tells how much was asked and how it ended, and names no user and no item::

    {"time": "2026-11-29T12:00:00.123Z", "model": "recommend", "version": 3, "id": "",
     "code": "OK", "ms": 1.52, "history": 20, "top_k": 10}

``ms`` runs from when the model was handed the request, so the wait in Triton's queue is not part of
it. ``id`` is what the caller called the request; ``serve`` calls its own ``golden``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from ..core.contract import (
    BACKGROUND,
    CANDIDATE,
    CANDIDATE_TEXT,
    EXCLUDE,
    HISTORY,
    HISTORY_TEXT,
    OBSERVED_ITEM,
    TEXT,
    TOP_K,
)
from .request_texts import id_of, options_of

FILE: Final = "TRITONREC_ACCESS_LOG"
SHARE: Final = "TRITONREC_ACCESS_LOG_SHARE"

_DEFAULT_SHARE: Final = "0.01"
_LONGEST_ID: Final = 64
_COUNTED: Final = {
    HISTORY.name: "history",
    HISTORY_TEXT.name: "history_texts",
    CANDIDATE.name: "candidates",
    CANDIDATE_TEXT.name: "candidate_texts",
    EXCLUDE.name: "excluded",
    TEXT.name: "texts",
    OBSERVED_ITEM.name: "events",
}
_OPTIONS: Final = (TOP_K.name, BACKGROUND.name)

Entry = dict[str, Any]
"""A line that is being made."""


class AccessLog:
    """The access log of one model.

    Parameters
    ----------
    file
        Lines are appended; other processes may do the same.
    share
        Of the requests that are logged, 0 to 1.

    Raises
    ------
    OSError
        The file cannot be opened.
    """

    def __init__(
        self,
        file: str,
        share: float,
        model: str,
        version: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        # A pipe that nobody reads must not keep a request: its line is lost instead.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
        self._descriptor = os.open(file, flags, 0o640)
        self._share = share
        self._model = {"model": model, "version": version}
        self._chance = chance

    def begin(self, request: Any) -> Entry | None:
        """Note a request as Triton hands it over; None if it is not among those that are logged.

        Nor is what other models ask a network: the requests that it is asked for have lines.
        """
        if self._chance() >= self._share:
            return None
        sizes = {each.name(): math.prod(each.shape()) for each in request.inputs()}
        counted = {word: sizes[name] for name, word in _COUNTED.items() if name in sizes}
        if not counted:
            return None
        return {
            "began": time.monotonic(),
            "id": id_of(request)[:_LONGEST_ID],
            **counted,
            **_options(options_of(request)),
        }

    def end(self, entry: Entry | None, code: str) -> None:
        """Write the line of a request that ended with ``code``. Any thread may ask."""
        if entry is None:
            return
        milliseconds = (time.monotonic() - entry.pop("began")) * 1000
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = {
            "time": now.replace("+00:00", "Z"),
            **self._model,
            "id": entry.pop("id"),
            "code": code,
            "ms": round(milliseconds, 2),
            **entry,
        }
        with contextlib.suppress(OSError):  # a full disk is no reason not to answer
            # At once, so that lines of several processes do not mix.
            os.write(self._descriptor, f"{json.dumps(line)}\n".encode())

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)


def from_environment(
    model: str, version: int, environment: Mapping[str, str] = os.environ
) -> AccessLog | None:
    """The log that the environment asks for.

    ``TRITONREC_ACCESS_LOG`` is its file; unset or empty: there is none.
    ``TRITONREC_ACCESS_LOG_SHARE`` is the share of the requests that are logged, 0.01 by default.

    Raises
    ------
    ValueError
        The share is none.
    OSError
        The file cannot be opened.
    """
    file = environment.get(FILE)
    if not file:
        return None
    given = environment.get(SHARE, _DEFAULT_SHARE)
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{SHARE} is {given!r}; set it to a number from 0 to 1")
    return AccessLog(file, share, model, version)


def _options(given: Mapping[str, Any]) -> Entry:
    # Of any other type they are no options, and may be anything.
    return {name: given[name] for name in _OPTIONS if isinstance(given.get(name), int)}
