"""Leaves out what the user has seen, and what the request names."""

from __future__ import annotations

from ..arrays import Indices
from ..catalogue import Catalogue
from ..contract import INCLUDE_SEEN
from ..options import Options
from ..requests import UserRequest
from .base import Stage


class Seen(Stage):
    """The whole history, also the part that the network is too short to read."""

    def applies(self, options: Options) -> bool:
        return not options[INCLUDE_SEEN.name]

    def mask(self, request: UserRequest, catalogue: Catalogue) -> Indices:  # noqa: ARG002
        return request.seen


class Excluded(Stage):
    """The items of EXCLUDE."""

    def mask(self, request: UserRequest, catalogue: Catalogue) -> Indices:  # noqa: ARG002
        return request.excluded
