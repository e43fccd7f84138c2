"""Makes lists of the best items under a policy; the server and the evaluation ask the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from .catalogue import Candidates
from .contract import NEW_ITEMS, TOP_K
from .policy import Plan
from .score_terms import Users
from .scoring import Scorer
from .similarity import Held

_MORE: Final = 8
"""Times as many candidates are read where a list lacks some."""
_MOST_CANDIDATES: Final = 2**15
_NO_ITEMS: Final = np.zeros(0, np.int32)


class ListMaker:
    """Makes lists of the items of a scorer's catalogue."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def candidates(
        self, users: Users, plans: Sequence[Plan], wanted: Sequence[int] | None = None
    ) -> list[Candidates]:
        """What each user's list is made of, best first; ``wanted`` of the plans if None."""
        return self._scorer.best(
            users,
            [plan.masked for plan in plans],
            [plan.wanted for plan in plans] if wanted is None else wanted,
            [plan.request.options[NEW_ITEMS.name] for plan in plans],
            [plan.allowed for plan in plans],
        )

    def listed(
        self,
        plan: Plan,
        candidates: Candidates,
        user: Users,
        held: Held | None = None,
        unmasked: Held | None = None,
    ) -> Candidates:
        """The list of one user, made of more candidates where these do not suffice.

        ``held`` is what the list is held to, None for nothing, and ``unmasked`` the same with no
        item masked, where the request is traced.
        """
        wanted, most = plan.wanted, min(len(self._scorer.catalogue), _MOST_CANDIDATES)
        while True:
            chosen = plan.choose(self._with_required(plan, candidates, user, held), user)
            if len(candidates) < wanted or wanted >= most or not plan.lacking(chosen):
                break
            wanted = min(wanted * _MORE, most)
            if held is None:
                (candidates,) = self.candidates(user, [plan], [wanted])
            else:
                candidates = held.best(user, wanted)
        if plan.traced:
            top_k = plan.context.options[TOP_K.name]
            if unmasked is None:
                (all_items,) = self._scorer.best(user, [_NO_ITEMS], [top_k])
            else:
                all_items = unmasked.best(user, top_k)
            plan.trace_refused(all_items)
        return chosen

    def similar(self, plan: Plan, held: Held) -> Candidates:
        """The list of a user of whom no state is known, held to something."""
        candidates = self._with_required(plan, held.best(None, plan.wanted), None, held)
        return plan.choose(candidates, None)

    def popular(self, plan: Plan) -> Candidates:
        """The list of a user of whom no state is known: NaN for logits and interests."""
        catalogue = self._scorer.catalogue
        items = catalogue.popular[~np.isin(catalogue.popular, plan.masked)]
        if plan.allowed is not None:
            items = items[plan.allowed.member[items]]
        items = np.concatenate([items, np.setdiff1d(plan.required, items)]).astype(np.int32)
        unknown = np.full(len(items), np.nan, np.float32)
        score = 1 / (1 + np.arange(len(items), dtype=np.float32))
        return plan.choose(Candidates(catalogue, items, unknown, unknown, score), None)

    def _with_required(
        self, plan: Plan, candidates: Candidates, user: Users | None, held: Held | None
    ) -> Candidates:
        if not len(plan.required):
            return candidates
        missing = plan.required[~np.isin(plan.required, candidates.index)]
        if held is None:
            assert user is not None
            scores = self._scorer.rank(user, 0, missing)
            more = Candidates(
                candidates.catalogue, missing, scores.logit, scores.interest, scores.interest
            )
        else:
            more = held.of(user, missing)
        both = Candidates(
            candidates.catalogue,
            np.concatenate([candidates.index, more.index]),
            np.concatenate([candidates.logit, more.logit]),
            np.concatenate([candidates.interest, more.interest]),
            np.concatenate([candidates.score, more.score]),
        )
        return both.by_score(both.score)
