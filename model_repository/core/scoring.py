"""User state → the best items, or the interest in given ones: the ranking rule.

A logit is a sum of terms (`terms`); then the items without training events are moved (`cold_items`)
and logits become interests (`calibration`). What must not be recommended is masked: its logit is
-inf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from .arrays import Floats, Indices
from .catalogue import Candidates, Catalogue
from .cold_items import merged
from .item_sets import ItemSet
from .items import NO_NEW_ITEMS, NewItems
from .score_terms import LinearTerm, NetworkTerm, Term, TrendTerm, Users
from .top_k import largest, take
from .trend import Snapshot, TrendSource
from .users import NO_ITEM, History, UserEncoder, user_states

_SPARE: Final = 2
"""Items that a candidate source is asked for, over those that are wanted or masked."""
_FEW: Final = 4
"""It is asked for at most one in so many items; beyond that, reading all is no slower."""
_READ: Final = 2**14
"""Items of a catalogue up to which all are scored, though few are allowed: it is no slower."""
_GATHERED: Final = 16
"""To score one in ten of a million items, each by itself, takes as long as to read all."""
_LOGITS: Final = 2**23
"""Logits that are held at once, 32 MB: users whose catalogues are more take turns."""


class CandidateSource(Protocol):
    """Finds the items that the network scores highest without reading all of them."""

    def nearest(self, state: Floats, number: int) -> Indices | None:
        """For a user state FP32 [d], INT32 [number], best first; None if it finds fewer."""
        ...


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits, and the probabilities that they mean; each FP32 [N]."""

    logit: Floats
    interest: Floats


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a user wants: see `Scorer.best`."""

    masked: Indices
    allowed: ItemSet | None
    wanted: int
    rank: int


class Scorer:
    """Scores the items of a catalogue for users.

    Parameters
    ----------
    source
        None: the whole catalogue is scored.
    count_full_searches
        Is told for how many users of a batch the source could not tell the best items, so that the
        whole catalogue was scored.
    trend
        Knows what is popular at a time; None for the catalogue's own counts.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        encode_users: UserEncoder,
        source: CandidateSource | None = None,
        count_full_searches: Callable[[int], None] = lambda _: None,
        trend: TrendSource | None = None,
    ) -> None:
        self.catalogue = catalogue
        self._encode_users = encode_users
        self._source = source
        self._count_full_searches = count_full_searches
        self._network = NetworkTerm(catalogue.vectors, catalogue.bias)
        self._others: list[Term] = []
        if catalogue.linear_value.size:
            self._others.append(
                LinearTerm(catalogue.linear_index, catalogue.linear_value, catalogue.decay)
            )
        self._trend = None
        if catalogue.trend:
            self._others.append(TrendTerm())
            self._trend = trend or Snapshot(catalogue.trend)

    def users(
        self,
        histories: Sequence[History],
        fresh: NewItems = NO_NEW_ITEMS,
        profiles: Indices | None = None,
        times: Sequence[int] | None = None,
    ) -> Users:
        """The users of whole histories; row r of ``fresh`` is slot ``-(r + 1)``.

        ``profiles`` INT32 [U, P] are ids of the users' profiles, None where nothing is known.
        ``times`` are those of the requests in Unix seconds, 0 for now; None for now of all.
        """
        catalogue = self.catalogue
        states = user_states(self._encode_users, histories, catalogue.vectors, fresh.vectors)
        columns = len(catalogue.profile)
        if columns:
            if profiles is None:
                profiles = np.zeros((len(histories), columns), np.int32)
            states += catalogue.profile[np.arange(columns), profiles].sum(1)
        trend = self._trend.rows(times or [0] * len(histories)) if self._trend else ()
        return Users(states, histories, trend)

    def logits(self, users: Users) -> Floats:
        """The sum of the terms FP32 [U, n], for the whole catalogue."""
        logits = self._network.all(users)
        for term in self._others:
            term.add_to(logits, users)
        return logits

    def terms(self, users: Users, user: int, items: Indices) -> dict[str, Floats]:
        """The terms of one user's logits, each FP32 [m] for items INT32 [m], by their names."""
        others = {term.name: term.of(users, user, items) for term in self._others}
        return {self._network.name: self._network.of(users, user, items), **others}

    def terms_of_new(self, users: Users, user: int, fresh: NewItems) -> dict[str, Floats]:
        """The same of new items, each FP32 [R]."""
        others = {term.name: term.of_new(users, user, fresh) for term in self._others}
        return {self._network.name: self._network.of_new(users, user, fresh), **others}

    def logits_of(self, users: Users, slots: Indices, fresh: NewItems = NO_NEW_ITEMS) -> Floats:
        """The sum of the terms FP32 [U, m], for slots INT32 [m], all different."""
        known = slots >= 0
        if not known.all():
            logits = np.empty((len(users), len(slots)), np.float32)
            logits[:, known] = self.logits_of(users, slots[known])
            for user in range(len(users)):
                logits[user, ~known] = self.rank(users, user, slots[~known], fresh).logit
            return logits
        logits = self._network.of_each(users, slots)
        for term in self._others:
            logits += term.of_each(users, slots)
        return logits

    def rank(
        self, users: Users, user: int, candidates: Indices, fresh: NewItems = NO_NEW_ITEMS
    ) -> Scores:
        """Score slots INT32 [N] for one user; `NO_ITEM` gets NaN."""
        logit = np.full(len(candidates), np.nan, np.float32)
        known = candidates >= 0
        logit[known] = self._of(users, user, candidates[known])
        new = ~known & (candidates != NO_ITEM)
        if new.any():
            rows, place = np.unique(-candidates[new] - 1, return_inverse=True)
            terms = self.terms_of_new(users, user, fresh.rows(rows))
            logit[new] = sum(terms.values(), np.zeros(len(rows), np.float32))[place]
        return Scores(logit, self.catalogue.calibration.interest(logit))

    def best(
        self,
        users: Users,
        masked: Sequence[Indices],
        wanted: Sequence[int],
        cold_ranks: Sequence[int] | None = None,
        allowed: Sequence[ItemSet | None] | None = None,
    ) -> list[Candidates]:
        """The best items of each user that are not masked.

        ``wanted`` says how many, ``masked`` INT32 [E] which ones not. ``cold_ranks`` are those that
        the best cold item of each user has at the latest, 2 or more, 0 for the catalogue's own;
        None for that of all. ``allowed`` are the only items that may be among them, None for all.
        Equal ones come in the order of the catalogue. With a candidate source an item may be
        missed, but as many are returned, with the same scores.

        Raises
        ------
        FloatingPointError
            A logit is NaN. It compares false, and would leave without a trace.
        """
        ranks = self._cold_ranks(cold_ranks or [0] * len(users), wanted)
        only = allowed or [None] * len(users)
        found: dict[int, Candidates] = {}
        for user, kept in enumerate(only):
            if kept is None and self._source is None:
                continue
            asked = _Asked(masked[user], kept, wanted[user], int(ranks[user]))
            few = None
            if kept is not None and self._few(kept):
                few, _ = self._best_among(kept.items, users, user, asked)
            elif self._source is not None:
                few = self._best_of_few(self._source, users, user, asked)
            if few is not None:
                found[user] = few
        rest = [user for user in range(len(users)) if user not in found]
        if self._source is not None:
            self._count_full_searches(len(rest))
        step = max(1, _LOGITS // max(1, len(self.catalogue)))
        for start in range(0, len(rest), step):
            part = rest[start : start + step]
            best = self._best_of_all(
                users[part],
                [masked[user] for user in part],
                [only[user] for user in part],
                [wanted[user] for user in part],
                ranks[part],
            )
            found.update(zip(part, best, strict=True))
        return [found[user] for user in range(len(users))]

    def _cold_ranks(self, asked: Sequence[int], wanted: Sequence[int]) -> Indices:
        """INT32 [U], 0 where cold items are ranked like all others.

        So they are too where their rank lies behind the wanted items: an item that is moved there
        is not seen, and those before it are not moved.
        """
        ranks = np.array(asked, np.int32)
        if not len(self.catalogue.cold):
            return np.zeros_like(ranks)
        ranks[ranks == 0] = self.catalogue.cold_rank
        ranks[ranks > wanted] = 0
        return ranks

    def _of(self, users: Users, user: int, items: Indices) -> Floats:
        logit = self._network.of(users, user, items)
        for term in self._others:
            logit += term.of(users, user, items)
        return logit

    def _few(self, allowed: ItemSet) -> bool:
        """Whether scoring these alone is quicker than any search."""
        most = len(self.catalogue) // _GATHERED if self._source is None else _READ
        return len(self.catalogue) > _READ and 0 < len(allowed) <= most

    def _best_of_all(
        self,
        users: Users,
        masked: Sequence[Indices],
        allowed: Sequence[ItemSet | None],
        wanted: Sequence[int],
        ranks: Indices,
    ) -> list[Candidates]:
        logits = self.logits(users)
        for logit, items, kept in zip(logits, masked, allowed, strict=True):
            logit[items] = -np.inf
            if kept is not None:
                logit[kept.outside] = -np.inf
        # Where cold items are ranked like all others, they stay among these: of two that are equal
        # the first of the catalogue then comes first, whoever else asks.
        moved = np.flatnonzero(ranks)
        cold = np.full((len(users), len(self.catalogue.cold) if len(moved) else 0), -np.inf, "f4")
        if len(moved):
            those = np.ix_(moved, self.catalogue.cold)
            cold[moved] = logits[those]
            logits[those] = -np.inf
        places, best, _ = self._ranked(logits, cold, ranks, max(wanted))
        return [
            self._candidates(places[row, :number], best[row, :number])
            for row, number in enumerate(wanted)
        ]

    def _best_of_few(
        self, source: CandidateSource, users: Users, user: int, asked: _Asked
    ) -> Candidates | None:
        """The best of what the source finds and of what other terms lift, scored exactly.

        And of the cold items, all of which are scored where they are moved. None where better ones
        may lie elsewhere: where the source has no more to give; and where one of the best is worse
        than what the network makes of all that it found, since an item that no other term lifts may
        score as much, or a little more where a term says by how much. That is with many items
        masked or spoken against.
        """
        number = _SPARE * (asked.wanted + len(asked.masked))
        if asked.allowed is not None:
            number = number * len(self.catalogue) // max(1, len(asked.allowed))
        if _FEW * number > len(self.catalogue):
            return None
        nearest = source.nearest(users.states[user], number)
        if nearest is None:
            return None
        worst = self._network.of(users, user, nearest).min()
        lifted = [term.lifts(users, user) for term in self._others]
        items = np.unique(np.concatenate([nearest, *(of_term for of_term, _ in lifted)]))
        most_of_others = worst + sum(by for _, by in lifted)
        best, least = self._best_among(items, users, user, asked)
        # Written so that a NaN goes the long way, where it is found.
        return best if least >= most_of_others else None

    def _best_among(
        self, items: Indices, users: Users, user: int, asked: _Asked
    ) -> tuple[Candidates, np.float32]:
        """The best of ``items`` INT32 [m], one or more, ascending, and of cold ones that are moved.

        All are scored. The second is the least logit of those that were looked at.
        """
        moved = self.catalogue.cold if asked.rank else self.catalogue.cold[:0]
        together = np.concatenate([items, moved])
        logits = self._of(users, user, together)
        logits[np.isin(together, asked.masked)] = -np.inf
        if asked.allowed is not None:
            logits[~asked.allowed.member[together]] = -np.inf
        known, cold = np.split(logits[np.newaxis], [len(items)], axis=1)
        known[0, np.isin(items, moved)] = -np.inf
        ranks = np.array([asked.rank], np.int32)
        places, best, least = self._ranked(known, cold, ranks, asked.wanted, items)
        return self._candidates(places[0], best[0]), least[0]

    def _ranked(
        self,
        known: Floats,
        cold: Floats,
        ranks: Indices,
        wanted: int,
        items: Indices | None = None,
    ) -> tuple[Indices, Floats, Floats]:
        """The best ``wanted`` items of each row INT32 [U, k], best first, and their logits FP32.

        ``known`` FP32 [U, m] are the logits of ``items`` INT32 [m], None for the whole catalogue.
        With -inf for the cold ones where ``ranks`` INT32 [U], at most ``wanted``, move them; their
        logits are then ``cold`` FP32 [U, c], of no columns where no user's are moved. The third is
        the least FP32 [U] of the known ones that were looked at.
        """
        places = largest(known, min(wanted, known.shape[1]))
        best = take(known, places)
        least = best[:, -1]
        if items is not None:
            places = items[places]
        if cold.shape[1]:
            best, places = merged(best, places, cold, self.catalogue.cold, ranks, wanted)
        return places, best, least

    def _candidates(self, items: Indices, logit: Floats) -> Candidates:
        if np.isnan(logit).any():
            raise FloatingPointError("there is a NaN among the logits of the best items")
        kept = logit > -np.inf
        logit = logit[kept]
        interest = self.catalogue.calibration.interest(logit)
        return Candidates(self.catalogue, items[kept], logit, interest, interest)
