"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    ``error``: it will not load. ``warning``: it loads, or this machine cannot tell, and something
    should be done. ``what`` is a sentence. ``remedy`` says what to do; it is empty where there is
    nothing to do, or where ``what`` says it.
    """

    severity: Severity
    where: str
    what: str
    remedy: str = ""
