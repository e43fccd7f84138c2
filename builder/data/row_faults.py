"""Rows of a log with a fault, which end the command or are left out, as was asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builder.data.files import TextFile
from builder.data.problems import SHOWN_PER_KIND, Problems

_WAY_OUT: Final = re.compile(r",? or give --on-bad-rows drop$")


def of_all_rows(message: str) -> str:
    """The message of a fault that all rows have, which no option can leave out."""
    if _WAY_OUT.search(message) is None:
        return message
    fault, _, advice = _WAY_OUT.sub("", message).rpartition("; ")
    return f"{fault}, and so in all rows, which --on-bad-rows drop would leave out; {advice}"


class Findings:
    """What was found wrong with the rows of one log: ``problems``, and what is left out."""

    def __init__(self, log: TextFile, problems: Problems) -> None:
        self.log: Final = log
        self.problems: Final = problems
        self.left_out: Final = Problems()

    def add(self, kind: str, column: str, row: int, message: str, count: int, drop: bool) -> None:  # noqa: FBT001
        """Record one row that stands for ``count`` of them."""
        into = self.left_out if drop else self.problems
        if drop:
            into.add_all(kind, [], count - 1)
        self.log.report(into, kind, [row], column, lambda _: message)


class RowFaults:
    """Rows with one kind of fault: the first ones in words, and how many there are."""

    def __init__(self, describe: Callable[[str], str], *, drop: bool) -> None:
        self._describe = describe
        self._messages: dict[int, str] = {}
        self._count = 0
        self._rows = 0
        self._drop = drop

    def add(self, start: int, wrong: NDArray[np.bool_], text: pa.Array) -> NDArray[np.bool_]:
        """Take what is ``wrong``, BOOL [B], with the values of the rows from ``start``.

        Returns which rows are kept, BOOL [B].
        """
        self._rows += len(wrong)
        rows = np.flatnonzero(wrong)
        for row in rows[: SHOWN_PER_KIND - len(self._messages)].tolist():
            self._messages[start + row] = self._describe(text[row].as_py())
        self._count += len(rows)
        return ~wrong if self._drop else np.ones(len(wrong), np.bool_)

    def report(self, findings: Findings, kind: str, column: str) -> None:
        """Hand over what was found; a fault of a row that all have is an error in any case."""
        messages = self._messages
        in_all = self._count == self._rows and any(map(_WAY_OUT.search, messages.values()))
        findings.log.report(
            findings.left_out if self._drop and not in_all else findings.problems,
            kind,
            list(messages),
            column,
            lambda row: of_all_rows(messages[row]) if in_all else messages[row],
            self._count,
        )
