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

from ..arrays import NO_ITEMS, Indices
from ..batch import Tensors
from ..catalogue import Candidates, Catalogue
from ..contract import EXPLAIN, TOP_K, TRACED
from ..item_sets import ItemSet
from ..requests import UserRequest
from ..score_terms import Users
from .arrange import Arrange
from .base import Context, Stage
from .boost import Boost
from .cursor import Pages, as_of_first_page
from .diversity import Diversity
from .exploration import Exploration
from .facts import Facts
from .filter import Filter
from .match import Match
from .popularity import Popularity
from .seen import Excluded, Like, Seen
from .trace import Trace

STAGES: Final[Sequence[Stage]] = (
    Seen(), Excluded(), Like(), Pages(), Filter(), Popularity(), Boost(), Diversity(), Match(),
    Arrange(), Exploration(),
)  # fmt: skip
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
    required
        INT32 [r], items that must be among the candidates of `choose`.
    wanted
        How many candidates it needs.
    """

    stages: Sequence[Stage]
    context: Context
    masked: Indices
    allowed: ItemSet | None
    required: Indices
    wanted: int

    @property
    def plain(self) -> bool:
        """Whether the list is the best candidates, about which nothing else is said."""
        return self.context.trace is None and all(stage.masks_only for stage in self.stages)

    @property
    def request(self) -> UserRequest:
        return self.context.request

    @property
    def traced(self) -> bool:
        """Whether the answer says which rule moved or removed an item."""
        return bool(self.context.options[TRACED.name])

    def choose(self, candidates: Candidates, user: Users | None) -> Candidates:
        """The list that is recommended, of ``top_k`` items at most.

        ``user`` is the one who asks; None where no state is known, and ``candidates`` are popular.
        """
        context, top_k = replace(self.context, user=user), self.context.options[TOP_K.name]
        if context.trace is not None:
            context.trace.clear()
        for stage in self.stages:
            before, candidates = candidates, stage.rerank(candidates, context)
            if context.trace is not None:
                listed = set(candidates.index[:top_k].tolist())
                for item in before.index[:top_k].tolist():
                    if item not in listed:
                        context.trace.remove(item, stage.name)
        return candidates[:top_k]

    def lacking(self, chosen: Candidates) -> bool:
        """Whether a list is too short, or not what was asked for, for want of candidates."""
        return any(stage.lacking(chosen, self.context) for stage in self.stages)

    def outputs(self, chosen: Candidates) -> Tensors:
        """What is said beside a list."""
        found: dict[str, NDArray[Any]] = {}
        for stage in self.stages:
            found |= stage.outputs(chosen, self.context)
        if self.context.trace is not None and self.traced:
            found |= self.context.trace.output(self.context.catalogue, chosen.index.tolist())
        return found

    def rules(self, chosen: Candidates) -> list[list[str]]:
        """For each item of a list, the rules that moved it; none where nothing is traced."""
        trace = self.context.trace
        return [] if trace is None else [trace.of(item) for item in chosen.index.tolist()]

    def trace_refused(self, plain: Indices) -> None:
        """Write into the trace which stages refuse items INT32 [k] of a list without rules."""
        trace = self.context.trace
        assert trace is not None
        for stage in self.stages:
            refused = np.isin(plain, stage.masked(self.context))
            if (allowed := stage.allowed(self.context)) is not None:
                refused |= ~allowed.member[plain]
            for item in plain[refused].tolist():
                trace.remove(item, stage.name)


def plan(request: UserRequest, catalogue: Catalogue, facts: Facts) -> Plan:
    """Check the options of a request, and say what is sought for it.

    Raises
    ------
    InvalidRequest
        An option cannot be followed.
    """
    request = as_of_first_page(request, catalogue)
    stages = [stage for stage in STAGES if stage.applies(request.options)]
    told = request.options[TRACED.name] or request.options[EXPLAIN.name]
    context = Context(request, catalogue, facts, Trace() if told else None)
    for stage in stages:
        stage.check(context)
    allowed = [each for stage in stages if (each := stage.allowed(context)) is not None]
    masked = np.concatenate([*(stage.masked(context) for stage in stages), NO_ITEMS])
    only = reduce(and_, allowed) if allowed else None
    others = [stage for stage in stages if not stage.masks_only]
    if not others:
        return Plan(stages, context, masked, only, NO_ITEMS, request.options[TOP_K.name])
    required = np.concatenate([stage.required(context) for stage in others])
    if len(required):
        required = required[~np.isin(required, masked)]
        required = required if only is None else required[only.member[required]]
    return Plan(
        stages,
        context,
        masked,
        only,
        required,
        max(request.options[TOP_K.name], *(stage.wanted(context) for stage in others)),
    )
