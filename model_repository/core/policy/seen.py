"""Leaves out what the user has seen, what the request names, and what the list is like."""

from __future__ import annotations

import numpy as np

from ..arrays import Indices
from ..contract import INCLUDE_SEEN, LIKE, QUERY
from ..errors import InvalidRequest
from ..options import Options
from .base import Context, Stage


class Seen(Stage):
    """The whole history, also the part that the network is too short to read."""

    name = "seen"
    masks_only = True

    def applies(self, options: Options) -> bool:
        return not options[INCLUDE_SEEN.name]

    def masked(self, context: Context) -> Indices:
        return context.request.seen


class Excluded(Stage):
    """The items of EXCLUDE."""

    name = "exclude"
    masks_only = True

    def masked(self, context: Context) -> Indices:
        return context.request.excluded


class Like(Stage):
    """The item of the option ``like``: an item is like itself, which tells nobody anything."""

    name = "like"

    def applies(self, options: Options) -> bool:
        return bool(options[LIKE.name] or options[QUERY.name])

    def check(self, context: Context) -> None:
        catalogue = context.catalogue
        if not context.options[QUERY.name].strip():
            return
        if not len(catalogue.neighbourhood.items) + len(catalogue.other_texts):
            raise InvalidRequest(
                f"parameter {QUERY.name} is given, and this model holds no text vectors; export it "
                "again with `python -m builder export`"
            )

    def masked(self, context: Context) -> Indices:
        anchor = context.request.anchor
        return np.array([anchor] if anchor >= 0 else [], np.int32)
