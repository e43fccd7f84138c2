"""``PerfError``: what the benchmark refuses to do; the message is written for its user."""

from __future__ import annotations


class PerfError(Exception):
    """Something that is missing here, a peer that does not start, or answers that disagree."""
