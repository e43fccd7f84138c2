"""Exploration: items get a chance that are not surely the best, and the answer says how large one.

A list is made rank by rank (`arrange`), and each rank asks a `Chooser`. A *propensity* is the
probability that an item was shown at its rank, given the items before it. So the product of the
propensities until a rank is the probability of the list until there, which is what off-policy
estimators divide by. At the first rank it is the item's marginal probability.

============ ==================================================== ========================
``greedy``   a random candidate with probability ε, else the best exact
``softmax``  a candidate with probability ∝ odds^(1 / T)          exact
``thompson`` the best of scores drawn from their posterior        estimated from 1,000 draws
``ucb``      the best of upper bounds, so many deviations up      deterministic: always 1
============ ==================================================== ========================

Odds are those of the interest, times what the policy multiplied the interest by. They say how many
times likelier than a random item one is, so with T = 1 the first item is drawn as the model expects
the next one to be. Interests themselves are all nearly 1 at the top of a list.

Thompson draws anew for each rank. With one draw for a whole list the items before a rank would
say something of what was drawn for the others, and the propensity could not be told without all the
lists that the caps and pins of a request permit.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..arrays import LARGEST, LEAST, Floats
from ..batch import Tensors
from ..catalogue import Candidates
from ..contract import EXPLORE, EXPLORE_RATE, PAGE, PROPENSITY, PROPENSITY_KIND
from ..errors import InvalidRequest
from ..options import Options
from .base import Context, Stage
from .chooser import Best, Chooser

DRAWS: Final = 1_000
"""From the posterior, for the propensities of a list."""

_RATES: Final = {"greedy": 0.1, "softmax": 0.2, "thompson": 1.0, "ucb": 1.0}
_KINDS: Final = {"greedy": "exact", "softmax": "exact", "thompson": "estimated"}
_ONE: Final = np.ones((1, 1), np.float32)
_LARGEST_EXPONENT: Final = np.float32(80)
"""Of e, to a number that FP32 has."""


def chooser(candidates: Candidates, context: Context) -> Chooser:
    """What chooses among the candidates of a request."""
    method = context.options[EXPLORE.name]
    if not method or _for_nobody(candidates):
        return Best()
    rate = context.options[EXPLORE_RATE.name] or _RATES[method]
    random = _generator(context)
    match method:
        case "greedy":
            return _Greedy(rate, random)
        case "softmax":
            return _Softmax(candidates, rate, random)
        case "thompson":
            return _Thompson(_Posterior(candidates, rate), random)
    return _UpperBound(_Posterior(candidates, rate))


class Exploration(Stage):
    """Options ``explore`` and ``explore_rate``; `arrange` asks its `chooser`."""

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

    def outputs(self, chosen: Candidates, context: Context) -> Tensors:
        kind = "deterministic"
        if not _for_nobody(chosen):
            kind = _KINDS.get(context.options[EXPLORE.name], kind)
        assert chosen.propensity is not None
        return {
            PROPENSITY.name: chosen.propensity[np.newaxis],
            PROPENSITY_KIND.name: np.array([[kind.encode()]], np.object_),
        }


def _for_nobody(candidates: Candidates) -> bool:
    """Whether these are popular items, the same for all users: without logits, and not explored."""
    return bool(np.isnan(candidates.logit).any())


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
    """With probability ∝ odds^(1 / T)."""

    def __init__(
        self, candidates: Candidates, temperature: float, random: np.random.Generator
    ) -> None:
        # Logarithms, since the power of odds may be too large or too small for a number.
        factor = _factor(candidates).astype(np.float64)
        log_odds = candidates.catalogue.calibration.scale * candidates.logit + np.log(factor)
        self._logarithm = log_odds / temperature
        self._random = random

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:  # noqa: ARG002
        places = np.flatnonzero(feasible)
        logarithm = self._logarithm[places]
        weights = np.exp(logarithm - logarithm.max())
        until = weights.cumsum()
        # Above 0 and at most 1, so that it falls on none without weight, and never behind the last.
        drawn = int(until.searchsorted((1 - self._random.random()) * until[-1]))
        return int(places[drawn]), float(weights[drawn] / until[-1])


def _factor(candidates: Candidates) -> Floats:
    """FP32 [m], what the policy multiplied interests by, such as a boost; above 0 and finite.

    A score may be 0, or the largest number; where all are, an item is as likely as by its logit.
    """
    ratio = candidates.score.astype(np.float64) / np.maximum(candidates.interest, LEAST)
    found: Floats = np.clip(ratio, LEAST, LARGEST).astype(np.float32)
    return found


class _Posterior:
    """What the scores of m candidates may be, where their logits are uncertain.

    A logit is normal around its value, with the item's uncertainty times ``rate``. What the policy
    made of an interest, such as a boost, is a factor that it would have made of any.
    """

    def __init__(self, candidates: Candidates, rate: float) -> None:
        deviation = candidates.catalogue.uncertainty[candidates.index] * np.float32(rate)
        factor = _factor(candidates)
        self._logit = candidates.logit[:, np.newaxis]
        self._deviation = deviation[:, np.newaxis]
        # Nearly always all have the same, 1, and the order of the logits is that of the scores.
        self._log_factor = np.log(factor)[:, np.newaxis] if (factor != factor[:1]).any() else None
        self._calibration = candidates.catalogue.calibration

    def scores(self, deviations: Floats) -> Floats:
        """FP32 [m, D], what orders items as their scores do, for deviations FP32 [m, D] up."""
        logits = deviations * self._deviation
        logits += self._logit
        if self._log_factor is None:
            return logits
        # Logarithms of scores, since interests that are nearly 1 are all alike as FP32. In place,
        # since more arrays of this size take as long as what is computed.
        missed = logits
        missed *= -self._calibration.scale
        missed -= self._calibration.shift
        np.exp(np.minimum(missed, _LARGEST_EXPONENT, out=missed), out=missed)
        found: Floats = self._log_factor - np.log1p(missed, out=missed)
        return found

    def drawn(self, number: int, random: np.random.Generator) -> Floats:
        """FP32 [m, number]."""
        shape = (len(self._logit), number)
        return self.scores(random.standard_normal(shape, np.float32))


class _Thompson:
    """The best of scores that are drawn for each rank.

    Of an item that was best in b of D other draws the propensity is (1 + b) / (1 + D). Divided by
    it, what is shown with probability p counts for 1 - (1 - p)^(D + 1) in the mean, so an estimate
    has no bias but for items that are shown less than once in D lists. The draws serve all ranks.
    """

    def __init__(self, posterior: _Posterior, random: np.random.Generator) -> None:
        self._posterior = posterior
        self._random = random
        self._others = posterior.drawn(DRAWS, random)

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:  # noqa: ARG002
        places = np.flatnonzero(feasible)
        place = int(places[self._posterior.drawn(1, self._random)[places, 0].argmax()])
        before, after = feasible.copy(), feasible.copy()
        before[place:] = after[: place + 1] = False
        own = self._others[place]
        # As above, the first of equals is the best.
        best = own > self._others[before].max(axis=0, initial=-np.inf)
        best &= own >= self._others[after].max(axis=0, initial=-np.inf)
        return place, (1 + np.count_nonzero(best)) / (1 + DRAWS)


class _UpperBound:
    """The largest of upper bounds."""

    def __init__(self, posterior: _Posterior) -> None:
        self._bounds = posterior.scores(_ONE)[:, 0]

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:  # noqa: ARG002
        places = np.flatnonzero(feasible)
        return int(places[self._bounds[places].argmax()]), 1.0


def _generator(context: Context) -> np.random.Generator:
    """The random numbers of a request: the same for one id, others each time without an id.

    Those of a page are its own: all pages of a list may have one id.
    """
    name, page = context.request.id, context.options[PAGE.name]
    if not name:
        return np.random.default_rng()
    digest = blake2b(f"{name}\0{page}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
