"""Which items are recommended, and in which order.

A stage is a module here and a line in `STAGES`. It has two hooks: ``mask`` takes items away before
anything is searched for, and ``rerank`` makes a list out of the best candidates. A stage that a
request does not ask for costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..arrays import Indices
from ..catalogue import Candidates, Catalogue
from ..contract import TOP_K
from ..requests import UserRequest
from .base import Stage
from .seen import Excluded, Seen

STAGES: Final[Sequence[Stage]] = (Seen(), Excluded())
"""In the order in which they rerank."""


_NOTHING: Final = np.zeros(0, np.int32)


def mask(request: UserRequest, catalogue: Catalogue) -> Indices:
    """The items INT32 [E] that must not be recommended; one may be there twice."""
    masks = [stage.mask(request, catalogue) for stage in STAGES if stage.applies(request.options)]
    return np.concatenate([*masks, _NOTHING])


def wanted(request: UserRequest) -> int:
    """How many candidates the stages ask for."""
    top_k: int = request.options[TOP_K.name]
    asked = [
        stage.wanted(request.options, top_k) for stage in STAGES if stage.applies(request.options)
    ]
    return max([top_k, *asked])


def rerank(candidates: Candidates, request: UserRequest) -> Candidates:
    """The list that is recommended, of ``top_k`` items at most."""
    for stage in STAGES:
        if stage.applies(request.options):
            candidates = stage.rerank(candidates, request)
    return candidates[: request.options[TOP_K.name]]
