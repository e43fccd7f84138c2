"""Times for people."""

from __future__ import annotations

from datetime import datetime, timezone


def moment(seconds: int | None) -> str:
    """Day and time of Unix seconds."""
    if seconds is None:
        return "no times"
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(" ", "seconds")


def day(seconds: int) -> str:
    """Day of Unix seconds."""
    return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()
