"""Exploration: items get a chance that are not surely the best, and the answer says how large one.

The list is made from its first place to its last, and each place asks a `Chooser`. What it returns
as *propensity* is the probability that this item was shown at this rank, given the items before it.
So the product of the propensities until a rank is the probability of the list until there, which is
what off-policy estimators divide by. At the first place it is the item's marginal probability.

============ ==================================================== ========================
``greedy``   a random candidate with probability ε, else the best exact
``softmax``  a candidate with probability ∝ score^(1 / T)         exact
``thompson`` the best of scores drawn from their posterior        estimated from 1,000 draws
``ucb``      the best of upper bounds, `rate` deviations up        deterministic: always 1
============ ==================================================== ========================

Thompson draws anew for each place. With one draw for a whole list the items before a place would
say something of what was drawn for the others, and the propensity could not be told without all the
lists that the caps and pins of a request permit.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import Floats
from ..batch import Tensors
from ..catalogue import Candidates
from ..contract import EXPLORE, EXPLORE_RATE, PROPENSITY, PROPENSITY_KIND, TOP_K
from ..errors import InvalidRequest
from ..options import Options
from .base import Context, Stage

DRAWS: Final = 1_000
"""From the posterior, for the propensities of a list."""

_CONSIDERED: Final = 200
"""Candidates that are explored, at least; and twice as many as are recommended."""
_RATES: Final = {"greedy": 0.1, "softmax": 0.1, "thompson": 1.0, "ucb": 1.0}
_KINDS: Final = {"greedy": "exact", "softmax": "exact", "thompson": "estimated"}
_DETERMINISTIC: Final = "deterministic"
_ONE: Final = np.ones((1, 1), np.float32)


class Chooser(Protocol):
    """Chooses the items of one list, a place at a time."""

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:
        """The place of the chosen candidate, and how likely it was given those chosen before.

        ``feasible`` BOOL [m], one or more, are the candidates that may come at ``rank``, from 0;
        they are ordered best first, by ``scores`` FP32 [m] above 0.
        """
        ...


def chooser(candidates: Candidates, context: Context) -> Chooser | None:
    """What chooses among the candidates of a request; None where the best is always taken.

    A list for nobody in particular is not explored: its popular items have no interests.
    """
    method = context.options[EXPLORE.name]
    if not method or context.user is None:
        return None
    rate = context.options[EXPLORE_RATE.name] or _RATES[method]
    random = _generator(context.request.id)
    match method:
        case "greedy":
            return _Greedy(rate, random)
        case "softmax":
            return _Softmax(rate, random)
        case "thompson":
            return _Thompson(_Posterior(candidates, rate), random)
    return _UpperBound(_Posterior(candidates, rate))


class Exploration(Stage):
    """Reranks by chance, or by what is not known; see this module."""

    name = "explore"

    def applies(self, options: Options) -> bool:
        return bool(options[EXPLORE.name])

    def check(self, context: Context) -> None:
        method, rate = context.options[EXPLORE.name], context.options[EXPLORE_RATE.name]
        if method == "greedy" and rate > 1:
            raise InvalidRequest(
                f"parameter {EXPLORE_RATE.name} is {rate}; with {EXPLORE.name} 'greedy' it is a "
                "probability and must be at most 1"
            )
        if method in ("thompson", "ucb") and not len(context.catalogue.uncertainty):
            raise InvalidRequest(
                f"parameter {EXPLORE.name} is {method!r}, and this model does not know how "
                "uncertain its logits are; export it again with `python -m builder export`, or ask "
                "for 'greedy' or 'softmax'"
            )

    def wanted(self, context: Context) -> int:
        return max(_CONSIDERED, 2 * int(context.options[TOP_K.name]))

    def rerank(self, candidates: Candidates, context: Context) -> Candidates:
        chooses = chooser(candidates, context)
        if chooses is None:
            return candidates
        feasible = np.ones(len(candidates), np.bool_)
        places: list[int] = []
        propensities: list[float] = []
        for rank in range(min(context.options[TOP_K.name], len(candidates))):
            place, propensity = chooses.choose(feasible, candidates.score, rank)
            feasible[place] = False
            places.append(place)
            propensities.append(propensity)
        return replace(
            candidates[np.array(places, np.intp)], propensity=np.array(propensities, np.float32)
        )

    def outputs(self, chosen: Candidates, context: Context) -> Tensors:
        kind, propensity = _KINDS.get(context.options[EXPLORE.name]), chosen.propensity
        if propensity is None:
            kind, propensity = None, np.ones(len(chosen), np.float32)
        return {
            PROPENSITY.name: propensity[np.newaxis],
            PROPENSITY_KIND.name: np.array([[(kind or _DETERMINISTIC).encode()]], np.object_),
        }


class _Greedy:
    """Uniform among all candidates with probability ε, else the best."""

    def __init__(self, rate: float, random: np.random.Generator) -> None:
        self._rate = rate
        self._random = random

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:  # noqa: ARG002
        places = np.flatnonzero(feasible)
        by_chance = self._random.random() < self._rate
        place = int(places[self._random.integers(len(places)) if by_chance else 0])
        propensity = self._rate / len(places)
        if place == places[0]:
            propensity += 1 - self._rate
        return place, propensity


class _Softmax:
    """With probability ∝ score^(1 / T)."""

    def __init__(self, temperature: float, random: np.random.Generator) -> None:
        self._temperature = temperature
        self._random = random

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:  # noqa: ARG002
        places = np.flatnonzero(feasible)
        # Logarithms, since the power of a score may be too large or too small for a number.
        logarithms = np.log(scores[places].astype(np.float64)) / self._temperature
        weights = np.exp(logarithms - logarithms.max())
        until = weights.cumsum()
        drawn = int(until.searchsorted(self._random.random() * until[-1], side="right"))
        drawn = min(drawn, len(places) - 1)  # what is drawn may be rounded up
        return int(places[drawn]), float(weights[drawn] / until[-1])


class _Posterior:
    """What the scores of m candidates may be, where their logits are uncertain.

    A logit is normal around its value, with the item's uncertainty times ``rate``. What the policy
    makes of an interest, such as a boost, it makes of any.
    """

    def __init__(self, candidates: Candidates, rate: float) -> None:
        deviation = candidates.catalogue.uncertainty[candidates.index] * np.float32(rate)
        boost = candidates.score / np.maximum(candidates.interest, np.finfo(np.float32).tiny)
        self._logit = candidates.logit[:, np.newaxis]
        self._deviation = deviation[:, np.newaxis]
        self._boost = boost[:, np.newaxis]
        self._interest = candidates.catalogue.calibration.interest

    def scores(self, deviations: Floats) -> Floats:
        """FP32 [m, D], for as many standard deviations FP32 [m, D], up or down."""
        logits = deviations * self._deviation
        logits += self._logit
        found = self._interest(logits)
        found *= self._boost
        return found

    def drawn(self, number: int, random: np.random.Generator) -> Floats:
        """FP32 [m, number]."""
        shape = (len(self._logit), number)
        return self.scores(random.standard_normal(shape, np.float32))


class _Thompson:
    """The best of scores that are drawn for each place.

    Of an item that was best in b of D other draws the propensity is (1 + b) / (1 + D). Divided by
    it, what is shown with probability p counts for 1 - (1 - p)^(D + 1) in the mean, so an estimate
    has no bias but for items that are shown less than once in D lists. The draws serve all places.
    """

    def __init__(self, posterior: _Posterior, random: np.random.Generator) -> None:
        self._posterior = posterior
        self._random = random
        self._others = posterior.drawn(DRAWS, random)

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:  # noqa: ARG002
        drawn = self._posterior.drawn(1, self._random)[:, 0]
        place = int(np.where(feasible, drawn, -1).argmax())
        largest = self._others[feasible].max(axis=0)
        best = np.count_nonzero(self._others[place] >= largest)
        return place, (1 + best) / (1 + DRAWS)


class _UpperBound:
    """The largest of upper bounds."""

    def __init__(self, posterior: _Posterior) -> None:
        self._bounds = posterior.scores(_ONE)[:, 0]

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:  # noqa: ARG002
        return int(np.where(feasible, self._bounds, -1).argmax()), 1.0


def _generator(name: str) -> np.random.Generator:
    """The random numbers of a request: the same for one id, others each time without an id."""
    if not name:
        return np.random.default_rng()
    digest = blake2b(name.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
