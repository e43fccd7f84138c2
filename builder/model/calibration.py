"""Fits the calibration of a model, and measures it; see `model_repository.core.calibration`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from builder.data.splits import Holdout
from model_repository.core.calibration import Calibration

NEGATIVES: Final = 100
"""Random items drawn for each user, together as heavy as the next item."""

_LEAST_SCALE: Final = 0.01
"""For logits of deviation 1. With few users the best slope may be 0 by chance, and then every item
would have the same interest."""
_LOWEST_CEILING: Final = 0.8
"""With few users a lower one may fit by chance."""
_DRAWS: Final = 1_000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledLogits:
    """Logits, whether each belongs to the user's next item, weights and users; each [pairs].

    A user is a row of the holdout that the pairs were drawn for; empty where it is not known.
    """

    logits: Array
    is_next: NDArray[np.bool_]
    weights: Array
    users: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def of(self, members: NDArray[np.bool_]) -> LabelledLogits:
        """The pairs of some users, BOOL [U]."""
        kept = members[self.users]
        return LabelledLogits(
            self.logits[kept], self.is_next[kept], self.weights[kept], self.users[kept]
        )


def draw_pairs(
    logits: NDArray[np.float32], holdout: Holdout, random: np.random.Generator
) -> LabelledLogits:
    """The next item and `NEGATIVES` unseen ones of each user, both sides weighing the same.

    ``logits`` is FP32 [U, n], for all users of `holdout`.
    """
    users = np.arange(len(holdout))
    unseen = np.ones(logits.shape, bool)
    histories = holdout.histories
    unseen[np.repeat(users, histories.lengths), histories.items] = False
    unseen[users, holdout.targets] = False
    drawn = [
        random.choice(free, NEGATIVES) if len(free := np.flatnonzero(row)) else free
        for row in unseen
    ]
    rows = np.repeat(users, [len(items) for items in drawn])
    positives = logits[users, holdout.targets].astype(np.float64)
    negatives = logits[rows, np.concatenate(drawn)].astype(np.float64)
    return LabelledLogits(
        np.concatenate([positives, negatives]),
        np.concatenate([np.ones(len(positives), bool), np.zeros(len(negatives), bool)]),
        np.concatenate(
            [
                np.ones(len(positives)),
                # Without negatives, where everyone has seen every item, there is nothing to weigh.
                np.full(len(negatives), len(positives) / max(len(negatives), 1)),
            ]
        ),
        np.concatenate([users, rows]),
    )


def joined(parts: Sequence[LabelledLogits]) -> LabelledLogits:
    return LabelledLogits(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.is_next for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.users for part in parts]),
    )


def fit_calibration(pairs: LabelledLogits) -> Calibration:
    """Weighted maximum likelihood of scale, shift and ceiling.

    The scale is never 0 or less, so that interest orders items as their logits do. Where all pairs
    are of one kind, there is nothing to fit and the logit is taken at its word.
    """
    if pairs.is_next.all() or not pairs.is_next.any():
        return Calibration()
    mean, spread = float(pairs.logits.mean()), max(float(pairs.logits.std()), 1e-6)
    logits = (pairs.logits - mean) / spread
    is_next, weights = pairs.is_next, pairs.weights / pairs.weights.sum()

    def loss(parameters: Array) -> tuple[float, Array]:
        scale, shift, ceiling = parameters
        margin = scale * logits + shift
        curve = expit(margin)
        # log(1 - c · σ), without the difference of two numbers that are nearly alike
        missed = (1 - ceiling) * curve + expit(-margin)
        log_next = np.log(ceiling) - np.logaddexp(0.0, -margin)
        value = -np.dot(weights, np.where(is_next, log_next, np.log(np.maximum(missed, 1e-300))))
        ratio = ceiling * curve * expit(-margin) / np.maximum(missed, 1e-300)
        slope = weights * np.where(is_next, -expit(-margin), ratio)
        up = weights * np.where(is_next, -1 / ceiling, curve / np.maximum(missed, 1e-300))
        return float(value), np.array([np.dot(slope, logits), slope.sum(), up.sum()])

    found = minimize(
        loss,
        np.array([1.0, 0.0, 1.0 - 1e-3]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(_LEAST_SCALE, None), (None, None), (_LOWEST_CEILING, 1.0)],
    ).x
    scale = float(found[0] / spread)
    return Calibration(scale, float(found[1]) - scale * mean, float(found[2]))


@dataclass(frozen=True)
class Reliability:
    """Promised against found, in bins of equal width over interest 0 to 1.

    Attributes
    ----------
    weight
        FP64 [bins], the share of all pairs; they sum to 1.
    interest, observed
        FP64 [bins], the mean interest of a bin and the share of next items; 0 where it is empty.
    next_items
        Number of next items in all bins.
    """

    weight: Array
    interest: Array
    observed: Array
    next_items: int

    @property
    def error(self) -> float:
        """ECE (Naeini et al. 2015): 0 is perfect, 1 the worst."""
        return float(np.dot(self.weight, np.abs(self.observed - self.interest)))

    @property
    def error_by_chance(self) -> float:
        """The mean ECE of so few next items if each bin had promised what is true.

        They are drawn `_DRAWS` times for the random items that are there; Bröcker & Smith 2007
        draw the bars of consistency of a reliability diagram so.
        """
        if not self.next_items:
            return 0.0
        random_items = self.weight * (1 - self.observed)
        next_item = (1 - random_items.sum()) / self.next_items  # its weight
        odds = self.interest / np.maximum(1 - self.interest, 1e-9)
        expected = random_items * odds / next_item
        drawn = np.random.default_rng(0).poisson(expected, (_DRAWS, len(expected))) * next_item
        weight = drawn + random_items
        missed = np.abs(drawn - self.interest * weight).sum(1)  # each bin by its weight
        return float((missed / weight.sum(1)).mean())


def reliability(calibration: Calibration, pairs: LabelledLogits, *, bins: int = 10) -> Reliability:
    interest = calibration.interest(pairs.logits)
    place = np.minimum((interest * bins).astype(int), bins - 1)
    weight, promised, found = (
        np.bincount(place, pairs.weights * value, minlength=bins)
        for value in (1.0, interest, pairs.is_next)
    )
    mean = np.divide(promised, weight, out=np.zeros(bins), where=weight > 0)
    share = np.divide(found, weight, out=np.zeros(bins), where=weight > 0)
    return Reliability(weight / weight.sum(), mean, share, int(pairs.is_next.sum()))


def expected_calibration_error(
    calibration: Calibration, pairs: LabelledLogits, *, bins: int = 10
) -> float:
    return reliability(calibration, pairs, bins=bins).error
