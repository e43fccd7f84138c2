"""Builds the list rank by rank: pinned items, limits, and what is chosen at each other rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..arrays import Indices
from ..catalogue import Candidates
from ..contract import EXPLORE, LIMITS, PAGE, PINS, POOL, TOP_K
from ..options import Options
from .base import Context, Stage
from .chooser import Best, Chooser
from .cursor import shown_before
from .exploration import chooser
from .limits import Groups, check_limits, check_pins, groups_of, pins_of, read_limits


class Arrange(Stage):
    """Options ``limits`` and ``pins``. No other stage moves an item after it."""

    name = "limits"

    def applies(self, options: Options) -> bool:
        return bool(options[LIMITS.name] or options[PINS.name] or options[EXPLORE.name])

    def check(self, context: Context) -> None:
        limits = read_limits(context.options[LIMITS.name])
        check_limits(limits, context.facts, context.options[TOP_K.name])
        top_k = context.options[TOP_K.name]
        if pins := {rank: item for rank, item in self._pins(context).items() if rank <= top_k}:
            check_pins(pins, limits, context.facts, top_k)

    def required(self, context: Context) -> Indices:
        return np.array(list(self._pins(context).values()), np.int32)

    def wanted(self, context: Context) -> int:
        return int(context.options[POOL.name])

    def rerank(self, candidates: Candidates, context: Context) -> Candidates:
        pins = {}
        if pinned := self._pins(context):
            place_of = {item: place for place, item in enumerate(candidates.index.tolist())}
            pins = {
                rank - 1: place_of[item]
                for rank, item in pinned.items()
                if item in place_of  # it may be masked
            }
        limits = read_limits(context.options[LIMITS.name])
        groups = groups_of(limits, candidates.index, context.facts)
        top_k = context.options[TOP_K.name]
        building = Building(candidates, groups, pins, top_k)
        places = building.places(chooser(candidates, context))
        if context.trace is not None:
            if context.options[EXPLORE.name]:
                plain = Building(candidates, groups, pins, top_k).places(Best())
                _tell_explored(candidates.index[plain], candidates.index[places], context)
            building.tell(context)
        return replace(candidates[places], propensity=np.array(building.propensity, np.float32))

    def lacking(self, chosen: Candidates, context: Context) -> bool:
        top_k = context.options[TOP_K.name]
        later = {item for rank, item in self._pins(context).items() if rank > top_k}
        if len(chosen) < top_k or not later.isdisjoint(chosen.index.tolist()):
            return True
        limits = read_limits(context.options[LIMITS.name])
        quotas = [limit for limit in limits if limit.at_least]
        if not quotas:
            return False
        groups = groups_of(quotas, chosen.index, context.facts)
        return bool((groups.at_least.sum(1) < groups.least).any())

    def _pins(self, context: Context) -> dict[int, int]:
        """Rank on this page from 1 → item; ranks above ``top_k`` are on later pages."""
        options = context.options
        if not options[PINS.name]:
            return {}
        before = shown_before(context.catalogue, options)
        pins = pins_of(options, context.facts.ids, paged=bool(options[PAGE.name]))
        return {rank - before: item for rank, item in pins.items() if rank > before}


def _tell_explored(plain: Indices, chosen: Indices, context: Context) -> None:
    """Write into the trace how the items ``chosen`` INT32 [k] differ from those without chance."""
    trace, method = context.trace, context.options[EXPLORE.name]
    assert trace is not None
    before = {item: rank for rank, item in enumerate(plain.tolist(), 1)}
    for rank, item in enumerate(chosen.tolist(), 1):
        was = before.pop(item, None)
        if was is None:
            trace.note(item, f"explore {method}: to rank {rank}")
        elif was != rank:
            trace.note(item, f"explore {method}: rank {was} to {rank}")
    for item in before:
        trace.remove(item, "explore")


class Building:
    """A list that is being built.

    What is needed for the quotas (``at least``) is set aside first, within the limits and for the
    free ranks, and given back where the best items meet a quota by themselves. So quotas go to the
    end of the list, and no item that is chosen before takes the room that they need.

    Attributes
    ----------
    propensity
        How likely each chosen candidate was at its rank; 1 for what is pinned.
    """

    def __init__(
        self, candidates: Candidates, groups: Groups, pins: Mapping[int, int], top_k: int
    ) -> None:
        self._candidates = candidates
        self._groups = groups
        self._pins = {rank: place for rank, place in pins.items() if rank < top_k}
        self._later = {rank: pins[rank] for rank in sorted(pins) if rank >= top_k}
        self._top_k = min(top_k, len(candidates))
        self._free = np.ones(len(candidates), bool)
        # Lists: an item is in few groups, and to count these is quicker than in arrays of all.
        self._need: list[int] = groups.least.tolist()
        self._aside: list[int] = []
        # What may be chosen so that what is set aside still fits, and the room that leaves.
        self._open = self._free
        self._left: list[int] = groups.most.tolist()
        self.propensity: list[float] = []
        self._chosen: list[int] = []
        self._for_quota: set[int] = set()

    def places(self, chooser: Chooser) -> NDArray[np.int64]:
        """The chosen candidates [k], in order."""
        for place in self._pins.values():
            self._count(place)
            self._fill(place)
        self._free[list(self._later.values())] = False
        self._reopen()
        self._set_aside()
        # Pins behind the end of a short list move up, and those of later pages: it is the last one.
        pinned = dict(self._pins)
        for rank in range(self._top_k):
            if rank in pinned:
                self._append(pinned.pop(rank), 1.0)
                continue
            ranks = self._top_k - len(self._chosen) - len(pinned)
            if ranks <= 0:
                break
            feasible = self._feasible(ranks)
            if not feasible.any():
                break
            place, probability = chooser.choose(feasible, self._candidates.score, rank)
            if feasible is not self._open:
                self._for_quota.add(place)
            self._take(place)
            self._append(place, probability)
        for rank in sorted(pinned):
            self._append(pinned[rank], 1.0)
        for place in self._later.values():
            groups = self._groups.at_most.groups_of(place)
            if len(self._chosen) < self._top_k and all(self._left[group] > 0 for group in groups):
                self._fill(place)
                self._append(place, 1.0)
        return np.array(self._chosen, np.int64)

    def _append(self, place: int, probability: float) -> None:
        self._chosen.append(place)
        self.propensity.append(probability)

    def _feasible(self, ranks: int) -> NDArray[np.bool_]:
        """What may be chosen where so many ranks are free."""
        if len(self._aside) < ranks:
            return self._open
        alone = np.zeros(len(self._free), bool)
        alone[self._aside] = True
        return alone

    def _take(self, place: int) -> None:
        self._count(place)
        if place in self._aside:
            self._aside.remove(place)  # its room was kept
        else:
            for group in self._fill(place):
                if self._left[group] <= 0:
                    self._open[self._groups.at_most.places_of(group)] = False
                    self._open[self._aside] = True
            if self._groups.at_least[:, place].any():
                self._give_back()
        self._open[place] = False

    def _count(self, place: int) -> None:
        self._free[place] = False
        for group in _places(self._groups.at_least[:, place]):
            self._need[group] -= 1

    def _fill(self, place: int) -> list[int]:
        """Take the room of a candidate; the groups that it is in."""
        groups = self._groups.at_most.groups_of(place)
        for group in groups:
            self._left[group] -= 1
        return groups

    def _reopen(self) -> None:
        full = np.array(self._left, np.int64) <= 0
        self._open = self._free & ~self._groups.at_most.within(full)
        self._open[self._aside] = True

    def _set_aside(self) -> None:
        """Set the best candidates aside that the quotas need, within the limits.

        Where these do not meet all quotas, others may: those that serve the most quotas, and of
        these the ones that are in the fewest groups. Which ones do for sure would take too long.
        """
        if max(self._need, default=0) <= 0 or not self._open.any():
            return
        found, lacking = self._gathered(np.ones(len(self._free), np.int64))
        if lacking:
            served, filled = self._groups.at_least.sum(0), np.diff(self._groups.at_most.starts)
            again, still = self._gathered(1 + served * (1 + filled.max()) - filled)
            found = again if still < lacking else found
        for place in found:
            self._fill(place)
        self._aside = sorted(found)
        self._reopen()

    def _gathered(self, value: NDArray[np.int64]) -> tuple[list[int], int]:
        """Open candidates for each quota in turn, and how many the quotas then lack.

        Those of the largest ``value`` INT64 [m], above 0, come first, and of equal ones the best.
        """
        value = value * self._open
        need, left, found = self._need.copy(), self._left.copy(), list[int]()
        for quota, members in enumerate(self._groups.at_least):
            while need[quota] > 0 and len(found) < self._top_k - len(self._pins):
                of_quota = value * members
                place = int(of_quota.argmax())
                if not of_quota[place]:
                    break
                found.append(place)
                value[place] = 0
                for group in _places(self._groups.at_least[:, place]):
                    need[group] -= 1
                for group in self._groups.at_most.groups_of(place):
                    left[group] -= 1
                    if left[group] <= 0:
                        value[self._groups.at_most.places_of(group)] = 0
        return found, sum(max(each, 0) for each in need)

    def _give_back(self) -> None:
        """Open again what the quotas need no more of what is set aside, the worst first."""
        while self._aside:
            held = self._groups.at_least[:, self._aside]
            needed = held[held.sum(1) <= self._need].any(0)
            if needed.all():
                break
            place = self._aside.pop(int(np.flatnonzero(~needed)[-1]))
            for group in self._groups.at_most.groups_of(place):
                self._left[group] += 1
        self._reopen()

    def tell(self, context: Context) -> None:
        """Write into the trace what was moved, left out and not met."""
        trace, index = context.trace, self._candidates.index
        assert trace is not None
        for rank, place in (self._pins | self._later).items():
            trace.note(index[place], f"pin: rank {rank + 1}")
        others = [PINS.name] if self._pins or self._later else []
        met = self._groups.at_least[:, self._chosen].sum(1)
        for group, rule in enumerate(self._groups.least_rules):
            placed = [place for place in self._for_quota if self._groups.at_least[group, place]]
            for place in placed:
                trace.note(index[place], rule)
            if placed:
                others.append(rule)
            if met[group] < self._groups.least[group]:
                trace.unmet(f"{rule}: {met[group]} found")
        groups_of, most = self._groups.at_most.groups_of, self._groups.most
        counted = Counter(group for place in self._chosen for group in groups_of(place))
        for place in sorted(set(range(self._top_k)) - set(self._chosen)):
            full = [group for group in groups_of(place) if counted[group] >= most[group]]
            # What no limit forbids made room for pins, and for items of quotas.
            if rule := self._groups.most_rules[full[0]] if full else "; ".join(others):
                trace.remove(index[place], rule)


def _places(truths: NDArray[np.bool_]) -> list[int]:
    """Where BOOL [g] is true."""
    found: list[int] = truths.nonzero()[0].tolist()
    return found
