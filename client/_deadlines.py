"""How long a call may take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import Final

from client._inputs import read_timeout


class NotGiven(Enum):
    """The type of :data:`NOT_GIVEN`, which stands for the client's own timeout.

    None cannot stand for it: ``timeout=None`` asks for no deadline at all.
    """

    NOT_GIVEN = "not given"

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN: Final = NotGiven.NOT_GIVEN

Timeout = float | None | NotGiven
"""Seconds, None for no deadline, or :data:`NOT_GIVEN` for the client's default."""

DEFAULT_TIMEOUT: Final = 1.0
"""Seconds. A ranking takes milliseconds, so this is patient; but it ends."""


@dataclass(slots=True, eq=False)
class Deadline:
    """The moment, on the monotonic clock, that everything done for one call has to meet."""

    at: float | None

    @classmethod
    def after(cls, timeout: Timeout, default: float | None) -> Deadline:
        """Start the clock. Raises :class:`InvalidInput` for what is no time."""
        seconds = default if isinstance(timeout, NotGiven) else read_timeout(timeout)
        return cls(None if seconds is None else time.monotonic() + seconds)

    def left(self) -> float | None:
        """Seconds left, negative when it has passed; None when there is no deadline."""
        return None if self.at is None else self.at - time.monotonic()
