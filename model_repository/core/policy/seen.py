"""Leaves out what the user has seen, and what the request names."""

from __future__ import annotations

from ..arrays import Indices
from ..contract import INCLUDE_SEEN
from ..options import Options
from .base import Context, Stage


class Seen(Stage):
    """The whole history, also the part that the network is too short to read."""

    name = "seen"

    def applies(self, options: Options) -> bool:
        return not options[INCLUDE_SEEN.name]

    def masked(self, context: Context) -> Indices:
        return context.request.seen


class Excluded(Stage):
    """The items of EXCLUDE."""

    name = "exclude"

    def masked(self, context: Context) -> Indices:
        return context.request.excluded
