"""Which items are recommended, and in which order.

A stage is a module here and a line in `STAGES`. Before the search it names items that must not be
recommended (``masked``), or the only ones that may be (``allowed``). After it, ``rerank`` makes a
list out of the best candidates, and ``outputs`` says more about it. A stage that a request does not
ask for costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..arrays import Indices
from ..batch import Tensors
from ..catalogue import Candidates, Catalogue
from ..contract import TOP_K
from ..item_sets import ItemSet
from ..requests import UserRequest
from ..score_terms import Users
from .base import Context, Stage
from .diversity import Diversity
from .match import Match
from .popularity import Popularity
from .seen import Excluded, Seen

STAGES: Final[Sequence[Stage]] = (Seen(), Excluded(), Popularity(), Diversity(), Match())
"""In the order in which they rerank."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the stages make of one request.

    Attributes
    ----------
    masked
        INT32 [E], items that must not be recommended; one may be there twice.
    allowed
        The only items that may be; None for all.
    wanted
        How many candidates `choose` needs.
    """

    stages: Sequence[Stage]
    context: Context
    masked: Indices
    allowed: ItemSet | None
    wanted: int

    @property
    def request(self) -> UserRequest:
        return self.context.request

    def choose(self, candidates: Candidates, user: Users | None) -> tuple[Candidates, Tensors]:
        """The list that is recommended, of ``top_k`` items at most, and what is said beside it.

        ``user`` is the one who asks; None where no state is known, and ``candidates`` are popular.
        """
        context = replace(self.context, user=user)
        for stage in self.stages:
            candidates = stage.rerank(candidates, context)
        chosen = candidates[: context.options[TOP_K.name]]
        outputs: dict[str, NDArray[Any]] = {}
        for stage in self.stages:
            outputs |= stage.outputs(chosen, context)
        return chosen, outputs

    def refuses(self, item: int) -> str | None:
        """The name of the stage that does not let an item be recommended; None if all do."""
        for stage in self.stages:
            allowed = stage.allowed(self.context)
            if item in stage.masked(self.context) or (allowed and not allowed.member[item]):
                return stage.name
        return None


def plan(request: UserRequest, catalogue: Catalogue) -> Plan:
    """Check the options of a request, and say what is sought for it.

    Raises
    ------
    InvalidRequest
        An option cannot be followed.
    """
    stages = [stage for stage in STAGES if stage.applies(request.options)]
    context = Context(request, catalogue)
    for stage in stages:
        stage.check(context)
    allowed = [each for stage in stages if (each := stage.allowed(context)) is not None]
    return Plan(
        stages,
        context,
        np.concatenate([*(stage.masked(context) for stage in stages), _NO_ITEMS]),
        reduce(and_, allowed) if allowed else None,
        max(request.options[TOP_K.name], *(stage.wanted(context) for stage in stages), 0),
    )


_NO_ITEMS: Final = np.zeros(0, np.int32)
