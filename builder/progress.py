"""Reports the progress of long work; the command line draws it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is to do."""


def silent(_task: str, _done: int, _total: int) -> None:
    """Report nothing."""
