"""Collects every problem of the data, so that one run reports all of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Final

from builder.errors import DataError

SHOWN_PER_KIND: Final = 20
NOT_UTF8: Final = "text that is not UTF-8"
WRONG_LENGTH: Final = "rows of the wrong length"
NO_OBJECT: Final = "what is no JSON object"
SWALLOWED: Final = "quotes that open a value and do not close it"
UNREADABLE_FILE: Final = "unreadable file"
TOO_FEW_ITEMS: Final = "too few items"
BAD_ROWS: Final = (WRONG_LENGTH, NO_OBJECT)
"""Kinds that a later step asks for: what follows from them is no second problem."""
_EXAMPLES: Final = 3  # of rows that are left out

log = logging.getLogger(__name__)


class Problems:
    """Problems by kind; only the first of each kind are kept in full, the rest are counted."""

    def __init__(self) -> None:
        self._shown: dict[str, list[str]] = defaultdict(list)
        self._counts: dict[str, int] = defaultdict(int)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __contains__(self, kind: str) -> bool:
        return kind in self._counts

    def add(self, kind: str, message: str) -> None:
        """Record one problem: ``"file:line: column: what is wrong; what to do"``."""
        self.add_all(kind, [message], 1)

    def add_all(self, kind: str, messages: list[str], count: int) -> None:
        """Record ``count`` problems of which at least the first ``SHOWN_PER_KIND`` are spelt out.

        Callers with millions of bad rows need not build millions of messages.
        """
        free = SHOWN_PER_KIND - len(self._shown[kind])
        self._shown[kind] += messages[: max(free, 0)]
        self._counts[kind] += count

    def moved(self, kinds: Collection[str]) -> Problems:
        """Those of these kinds, which are forgotten here."""
        found = Problems()
        for kind in kinds:
            if kind in self._counts:
                found.add_all(kind, self._shown.pop(kind), self._counts.pop(kind))
        return found

    def reworded(self, change: Callable[[str], str]) -> Problems:
        """The same in other words."""
        found = Problems()
        for kind, count in self._counts.items():
            found.add_all(kind, [change(message) for message in self._shown[kind]], count)
        return found

    def take(self, others: Problems) -> None:
        """Record those that others have recorded.

        The log may be the item file too, and is then read twice: what is known already is left out.
        """
        for kind, count in others._counts.items():
            known = self._counts.get(kind) == count and self._shown[kind] == others._shown[kind]
            if not known:
                self.add_all(kind, others._shown[kind], count)

    def raise_if_any(self) -> None:
        """Raise a DataError with every problem, kinds in the order they were first found."""
        if not self._counts:
            return
        total = len(self)
        lines = [f"{total:,} problem{'s' if total > 1 else ''} in the data:"]
        for kind, messages in self._shown.items():
            lines += messages
            hidden = self._counts[kind] - len(messages)
            if hidden:
                lines.append(f"... and {hidden:,} more: {kind}")
        kinds = {kind: (self._counts[kind], shown) for kind, shown in self._shown.items()}
        raise DataError("\n".join(lines), kinds)

    def warn_of_rows_left_out(self) -> None:
        """Log how many rows of each kind are not used, with the first of them."""
        for kind, messages in self._shown.items():
            # What to do about them was said by the option that leaves them out.
            examples = " | ".join(text.rpartition("; ")[0] for text in messages[:_EXAMPLES])
            log.warning("left out: %s, %s: %s", kind, f"{self._counts[kind]:,} rows", examples)
