"""``python -m perf uncertainty``: whether what is said to be uncertain of items is so."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import gammaln
from scipy.stats import spearmanr

from builder.data.sequences import Sequences
from builder.model.checkpoint import load_validation
from builder.model.uncertainty import UNEXPLAINED
from builder.options import command
from perf.errors import PerfError
from perf.options import Json

Array = NDArray[np.float64]

SEEDS: Final = 3
_REGULARISATION: Final = 200.0
_RESAMPLES: Final = 12
_USERS: Final = 100
"""Whose scores are resampled."""
_LARGEST: Final = 5_000
"""Items of a log that this can be done with: it inverts a matrix of them."""


@dataclass(frozen=True)
class Held:
    """The log-likelihood of how often items come among events that were not learnt from.

    Attributes
    ----------
    events
        How many there are.
    certain, constant, by_events
        With rates that are certain, with one variance for all items, the best there is, and with
        the variance that an export writes.
    """

    seed: int
    events: int
    certain: float
    constant: float
    by_events: float


@command
def uncertainty(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training run; its log is used.")],
    *,
    as_json: Json = False,
) -> None:
    """Learn item rates from half of a log, and hold their variances against the other half.

    Rates are those of a linear term (EASE) and of counts, which are learnt anew in seconds. Counts
    of the other half are negative binomial, with the variance of a rate's logarithm. Then the
    linear term is resampled, to see what a bootstrap of it takes for uncertain.

    Example: python -m perf uncertainty runs/demo
    """
    log = load_validation(run).histories
    items = int(log.items.max()) + 1
    if items > _LARGEST:
        raise PerfError(f"{run} has {items:,} items; give a run of {_LARGEST:,} at most")
    halves = [halved(log, seed) for seed in range(SEEDS)]
    rank = bootstrap_rank(log)
    if as_json:
        report = {"held_out": [asdict(each) for each in halves], "bootstrap_rank": rank}
        typer.echo(json.dumps(report, indent=1))
        return
    typer.echo(
        "| seed | events held out | certain rates | one variance | by events |\n" + "|---" * 5 + "|"
    )
    for each in halves:
        typer.echo(
            f"| {each.seed} | {each.events:,} | {each.certain:.1f} | {each.constant:.1f} | "
            f"{each.by_events:.1f} |"
        )
    typer.echo(f"\nrank correlation of a bootstrap's deviation with that by events: {rank:.2f}")


def halved(log: Sequences, seed: int) -> Held:
    """Learn from a random half of the events, choose on a third of the rest, hold the others."""
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(len(log)), log.lengths)
    items = int(log.items.max()) + 1
    learnt = random.random(len(users)) < 0.5
    chosen_on = ~learnt & (random.random(len(users)) < 1 / 3)
    held = ~learnt & ~chosen_on
    seen = np.zeros((len(log), items))
    seen[users[learnt], log.items[learnt]] = 1
    events = seen.sum(0)
    scores = seen @ _linear(seen.T @ seen)

    def next_item(parameters: Array) -> Array:
        """FP64 [U, n], the probabilities of a user's next item."""
        weight, offset, power = parameters
        logits = weight * scores + power * np.log(np.exp(offset) + events)
        logits[seen > 0] = -np.inf
        odds = np.exp(logits - logits.max(1, keepdims=True))
        found: Array = odds / odds.sum(1, keepdims=True)
        return found

    def loss(parameters: Array) -> float:
        of_events = next_item(parameters)[users[chosen_on], log.items[chosen_on]]
        return -float(np.log(np.maximum(of_events, 1e-300)).mean())

    start = np.array([3.0, 0.0, 0.5])
    best = next_item(minimize(loss, start, method="Nelder-Mead", options={"maxiter": 40}).x)

    def counts(part: NDArray[np.bool_]) -> tuple[Array, Array]:
        """FP64 [n] each: how often each item came, and how often it was to."""
        of_users = np.bincount(users[part], minlength=len(log))
        return np.bincount(log.items[part], minlength=items).astype(float), of_users @ best + 1e-12

    def constant(logarithm: float) -> float:
        return -likelihood(*counts(chosen_on), np.full(items, np.exp(logarithm)))

    found, expected = counts(held)
    one = np.exp(minimize_scalar(constant, bounds=(-9, 2), method="bounded").x)
    return Held(
        seed,
        int(held.sum()),
        likelihood(found, expected, np.full(items, 1e-6)),
        likelihood(found, expected, np.full(items, one)),
        likelihood(found, expected, UNEXPLAINED + 1 / (1 + events)),
    )


def likelihood(found: Array, expected: Array, variance: Array) -> float:
    """The log-likelihood of counts [n], whose rates have this relative variance [n] (gamma)."""
    shape = 1 / variance
    each = (
        gammaln(found + shape)
        - gammaln(shape)
        - gammaln(found + 1)
        + shape * np.log(shape / (shape + expected))
        + found * np.log(expected / (shape + expected))
    )
    return float(each.sum())


def bootstrap_rank(log: Sequences) -> float:
    """Spearman's correlation of the linear term's deviation over resamples of users with 1 / √e."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(len(log)), log.lengths)
    seen = np.zeros((len(log), int(log.items.max()) + 1))
    seen[users, log.items] = 1
    some = seen[random.choice(len(log), min(_USERS, len(log)), replace=False)]
    scores = []
    for _ in range(_RESAMPLES):
        often = random.multinomial(len(log), np.full(len(log), 1 / len(log)))
        scores.append(some @ _linear(seen.T @ (seen * often[:, np.newaxis])))
    deviation = np.sqrt(np.var(scores, 0, ddof=1).mean(0))
    return float(spearmanr(deviation, 1 / np.sqrt(1 + seen.sum(0))).statistic)


def _linear(gram: Array) -> Array:
    """EASE of a Gram matrix [n, n]."""
    inverse = np.linalg.inv(gram + _REGULARISATION * np.eye(len(gram)))
    weights: Array = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights
