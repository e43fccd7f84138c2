"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    ``error``: it will not load. ``warning``: it loads, or nobody can tell from here, and something
    should be done. ``what`` is a sentence; ``remedy`` says what to do and is empty where nothing
    is, or where ``what`` says it.
    """

    severity: Severity
    where: str
    what: str
    remedy: str = ""
