"""Makes lists of the best items under a policy; the server and the evaluation ask the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import numpy as np

from .arrays import NO_ITEMS, Indices
from .catalogue import Candidates
from .contract import NEW_ITEMS, TOP_K
from .item_sets import ItemSet
from .policy import Plan
from .score_terms import Users
from .scoring import Scorer
from .similarity import Held

_MORE: Final = 8
"""Times as many candidates are read where a list lacks some."""
_MOST_CANDIDATES: Final = 2**15


_User = TypeVar("_User")


class Search(Protocol):
    """Where the items of one user's list come from; `Held` is one."""

    def best(self, user: Users, wanted: int) -> Candidates:
        """The best ``wanted`` that may be recommended."""
        ...

    def of(self, user: Users, items: Indices) -> Candidates:
        """Items INT32 [m] as candidates."""
        ...


@dataclass(frozen=True, slots=True)
class Anywhere:
    """The whole catalogue but what is ``masked`` INT32 [E] or not ``allowed`` (a `Search`)."""

    scorer: Scorer
    masked: Indices
    allowed: ItemSet | None
    cold_rank: int

    def best(self, user: Users, wanted: int) -> Candidates:
        (found,) = self.scorer.best(user, [self.masked], [wanted], [self.cold_rank], [self.allowed])
        return found

    def of(self, user: Users, items: Indices) -> Candidates:
        scores = self.scorer.rank(user, 0, items)
        return Candidates(
            self.scorer.catalogue, items, scores.logit, scores.interest, scores.interest
        )


class ListMaker:
    """Makes lists of the items of a scorer's catalogue."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def candidates(self, users: Users, plans: Sequence[Plan]) -> list[Candidates]:
        """What each user's list is made of, best first: those of `anywhere`, sought together."""
        return self._scorer.best(
            users,
            [plan.masked for plan in plans],
            [plan.wanted for plan in plans],
            [plan.request.options[NEW_ITEMS.name] for plan in plans],
            [plan.allowed for plan in plans],
        )

    def anywhere(self, plan: Plan) -> Anywhere:
        """Where the list of a request comes from that says nothing else."""
        cold_rank: int = plan.request.options[NEW_ITEMS.name]
        return Anywhere(self._scorer, plan.masked, plan.allowed, cold_rank)

    def listed(
        self,
        plan: Plan,
        candidates: Candidates,
        user: Users,
        search: Search,
        unmasked: Search | None = None,
    ) -> Candidates:
        """The list of one user, made of more candidates where these do not suffice.

        ``candidates`` are the best of ``search``. ``unmasked`` is the same with no item masked,
        None for the whole catalogue; a request that is traced needs it.
        """
        wanted, most = plan.wanted, min(len(self._scorer.catalogue), _MOST_CANDIDATES)
        while True:
            chosen = plan.choose(_with_required(plan, candidates, user, search.of), user)
            if len(candidates) < wanted or wanted >= most or not plan.lacking(chosen):
                break
            wanted = min(wanted * _MORE, most)
            candidates = search.best(user, wanted)
        if plan.traced:
            everything = unmasked or replace(self.anywhere(plan), masked=NO_ITEMS, allowed=None)
            plan.trace_refused(everything.best(user, plan.request.options[TOP_K.name]).index)
        return chosen

    def similar(self, plan: Plan, held: Held, unmasked: Held | None) -> Candidates:
        """The list of a user of whom no state is known, held to something.

        ``unmasked`` is the same with no item masked; a request that is traced needs it.
        """
        candidates = _with_required(plan, held.best(None, plan.wanted), None, held.of)
        chosen = plan.choose(candidates, None)
        if plan.traced and unmasked is not None:
            plan.trace_refused(unmasked.best(None, plan.request.options[TOP_K.name]).index)
        return chosen

    def popular(self, plan: Plan) -> Candidates:
        """The list of a user of whom no state is known: NaN for logits and interests."""
        catalogue = self._scorer.catalogue
        items = catalogue.popular[~np.isin(catalogue.popular, plan.masked)]
        if plan.allowed is not None:
            items = items[plan.allowed.member[items]]
        items = np.concatenate([items, np.setdiff1d(plan.required, items)]).astype(np.int32)
        unknown = np.full(len(items), np.nan, np.float32)
        score = 1 / (1 + np.arange(len(items), dtype=np.float32))
        chosen = plan.choose(Candidates(catalogue, items, unknown, unknown, score), None)
        if plan.traced:
            plan.trace_refused(catalogue.popular[: plan.request.options[TOP_K.name]])
        return chosen


def _with_required(
    plan: Plan,
    candidates: Candidates,
    user: _User,
    of: Callable[[_User, Indices], Candidates],
) -> Candidates:
    if not len(plan.required):
        return candidates
    more = of(user, plan.required[~np.isin(plan.required, candidates.index)])
    both = Candidates(
        candidates.catalogue,
        np.concatenate([candidates.index, more.index]),
        np.concatenate([candidates.logit, more.logit]),
        np.concatenate([candidates.interest, more.interest]),
        np.concatenate([candidates.score, more.score]),
    )
    return both.by_score(both.score)
