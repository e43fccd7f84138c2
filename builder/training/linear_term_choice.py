"""Chooses the linear term and the popularity prior on the validation users.

A model falls back on both where the log is too short to learn from: at the largest weight the
linear term decides alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.evaluation.ranking import ndcg, ndcg_gain, rank_scores, ranks_by_weight
from builder.model.ease import ease
from builder.model.linear import LinearTerm, item_neighbours, text_neighbours
from builder.model.scoring import linear_scores
from builder.progress import Progress, silent
from builder.training.improvement import is_better

log = logging.getLogger(__name__)

REGULARISATION: Final = (10.0, 30.0, 100.0, 200.0, 400.0, 800.0)
REGULARISATION_LARGE: Final = (100.0, 400.0)
"""Above `LARGE_CATALOGUE` items, where an inverse takes from seconds to a minute."""
LARGE_CATALOGUE: Final = 5_000
SHRINKAGE: Final = (10.0, 100.0)
TEXT_SHARE: Final = (0.01, 0.03, 0.1, 0.3)
"""How much of the neighbours by text is added to what is seen together. Where users have five
events each (MovieLens-100K, their last five), that lifted NDCG@10 on the test users from .042 to
.049, and where they have three, .028 to .036 on validation; with whole histories it is level."""
DECAY: Final = (1.0, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
USUAL_DECAY: Final = 0.9
"""What the terms are compared at, before ρ is chosen for the best of them."""
WEIGHT: Final = (0, 0.25, 0.5, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 1024)
"""0 leaves the network alone; at the last the term decides and the network breaks its ties."""
CHOSEN_AT: Final = 50
"""The cutoff of the NDCG that is chosen by. Three times as many users have their item in the first
50 as in the first 10, so the choice follows chance less: chosen on one half of MovieLens-100K's
validation users, the best by NDCG@50 had an NDCG@10 of .1123 on the other half, the best by NDCG@10
itself .1080 (mean of two networks and four halves)."""
PRIOR: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0)


TEXT: Final = "neighbours by text"
"""The name of the term that takes no log."""


@dataclass(frozen=True)
class Recipe:
    """What stands beside the network, apart from the log that it is worked out from.

    Attributes
    ----------
    term
        Name of B among `Terms`.
    text_share
        How much of the neighbours by text is added to it.
    decay, weight
        ρ and γ, see `LinearTerm`.
    prior
        Weight of popularity in the items' biases.
    """

    term: str
    text_share: float
    decay: float
    weight: float
    prior: float


@dataclass(frozen=True)
class ClosedForm:
    """What stands beside the network.

    ``prior`` is added to the items' biases, FP32 [n]; ``ndcg`` is the validation NDCG@10 of the
    full model, ``logits`` FP32 [U, n] are its logits there.
    """

    recipe: Recipe
    linear: LinearTerm
    prior: NDArray[np.float32]
    ndcg: float
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Terms:
    """Candidates for B by name, and the neighbours by text that any of them may be mixed with.

    ``popularity`` INT64 [n] are the training events of each item.
    """

    together: dict[str, LinearTerm]
    text: LinearTerm
    popularity: NDArray[np.int64]

    def mixed(self, name: str, text_share: float) -> LinearTerm:
        """The term of that name, with a share of the neighbours by text; its weight is not set."""
        term = self.text if name == TEXT else self.together[name]
        if not text_share:
            return term
        mixed = term.matrix + np.float32(text_share) * self.text.matrix
        return LinearTerm.pruned(mixed.tocsr(), self.text.index.shape[1])

    def by(self, recipe: Recipe) -> tuple[LinearTerm, NDArray[np.float32]]:
        """The linear term, and the prior FP32 [n]."""
        term = self.mixed(recipe.term, recipe.text_share)
        prior = np.float32(recipe.prior) * popularity_prior(self.popularity)
        return term.weighted(decay=recipe.decay, weight=recipe.weight), prior


def linear_terms(
    train: Sequences,
    text_vectors: NDArray[np.float32],
    keep: int,
    *,
    only: str | None = None,
    progress: Progress = silent,
) -> Terms:
    """EASE, cosine neighbours, and neighbours by text.

    Where `only` the term of one name is needed, no other is worked out, but those by text.
    """
    items = len(text_vectors)
    ridges = REGULARISATION if items <= LARGE_CATALOGUE else REGULARISATION_LARGE

    def by_ease(ridge: float) -> LinearTerm:
        matrix = ease(train, items, regularisation=ridge, progress=progress)
        return LinearTerm.pruned(matrix, keep)

    def neighbours(shrinkage: float) -> LinearTerm:
        return item_neighbours(train, items, shrinkage=shrinkage, keep=keep)

    ways: dict[str, Callable[[], LinearTerm]] = {
        f"EASE, λ {ridge:g}": partial(by_ease, ridge) for ridge in ridges
    }
    ways |= {f"neighbours, shrinkage {each:g}": partial(neighbours, each) for each in SHRINKAGE}
    if only is not None:
        ways = {name: way for name, way in ways.items() if name == only}
    together = {}
    for done, (name, way) in enumerate(ways.items()):
        progress("linear terms", done, len(ways) + 1)
        together[name] = way()
    progress("linear terms", len(ways), len(ways) + 1)  # those by text are left
    popularity = np.bincount(train.items, minlength=items)
    text = text_neighbours(text_vectors, popularity > 0, keep=keep)
    progress("linear terms", len(ways) + 1, len(ways) + 1)
    return Terms(together, text, popularity)


def choose_closed_form(
    terms: Terms,
    network: NDArray[np.float32],
    validation: Holdout,
    max_history: int,
    *,
    progress: Progress = silent,
) -> ClosedForm:
    """What has the best NDCG@`CHOSEN_AT` beside the logits FP32 [U, n] of the other terms.

    One choice after the other, each with the weight that suits it best: B at `USUAL_DECAY`, its
    share of text, the decay, and the prior. Neither the term nor the prior is taken where it is no
    better than chance, see `is_better`.
    """
    tried = 0
    total = len(terms.together) + 1 + len(TEXT_SHARE) + 1 + len(DECAY)

    def best(candidates: Iterable[tuple[Recipe, LinearTerm]]) -> tuple[Recipe, LinearTerm]:
        nonlocal tried
        found = []
        for recipe, term in candidates:
            at = term.weighted(decay=recipe.decay, weight=1)
            linear = linear_scores(at, validation.histories, max_history)
            gains = gains_by_weight(network, linear, WEIGHT, validation)
            found += [
                (float(of_users.mean()), replace(recipe, weight=weight), term)
                for weight, of_users in zip(WEIGHT, gains, strict=True)
            ]
            tried += 1
            progress("choose the linear term", tried, total)
        return max(found, key=lambda each: each[0])[1:]  # the first of equals

    recipe, term = best(
        (Recipe(name, 0.0, USUAL_DECAY, 1.0, 0.0), terms.mixed(name, 0.0))
        for name in (*terms.together, TEXT)
    )
    if recipe.weight and recipe.term != TEXT:
        recipe, term = best(
            (replace(recipe, text_share=share), terms.mixed(recipe.term, share))
            for share in (0.0, *TEXT_SHARE)
        )
    recipe, term = best((replace(recipe, decay=decay), term) for decay in DECAY)

    without = gains_of(network, validation)
    term = term.weighted(decay=recipe.decay, weight=recipe.weight)
    full = network + np.float32(recipe.weight) * linear_scores(
        term, validation.histories, max_history
    )
    gains = gains_of(full, validation)
    if not is_better(gains, without):
        recipe, term = replace(recipe, weight=0.0), term.weighted(decay=recipe.decay, weight=0.0)
        full, gains = network, without
    popularity = popularity_prior(terms.popularity)
    with_prior = gains_by_weight(full, popularity, PRIOR, validation)
    best_prior = int(with_prior.mean(1).argmax())  # the first of equals
    if not is_better(with_prior[best_prior], gains):
        best_prior = 0
    recipe = replace(recipe, prior=PRIOR[best_prior])
    prior = np.float32(recipe.prior) * popularity
    logits = full + prior
    figure = ndcg(logits.copy(), validation, 10)
    log.info(
        "linear term: %s%s, decay %g, weight %g; popularity weight %g; validation NDCG@10 %.4f, "
        "without both %.4f",
        recipe.term,
        f" and {recipe.text_share:g} of the {TEXT}" if recipe.text_share else "",
        recipe.decay,
        recipe.weight,
        recipe.prior,
        figure,
        ndcg(network.copy(), validation, 10),
    )
    return ClosedForm(recipe, term, prior, figure, logits)


def gains_of(logits: NDArray[np.float32], validation: Holdout) -> NDArray[np.float64]:
    """What each user adds to NDCG@`CHOSEN_AT`, FP64 [U], by logits FP32 [U, n]."""
    rank = rank_scores(logits.copy(), validation.histories, validation.targets)
    return ndcg_gain(rank, CHOSEN_AT)


def gains_by_weight(
    logits: NDArray[np.float32],
    added: NDArray[np.float32],
    weights: Sequence[float],
    validation: Holdout,
) -> NDArray[np.float64]:
    """The same FP64 [W, U] of ``logits + weight · added``, see `ranks_by_weight`."""
    return ndcg_gain(ranks_by_weight(logits, added, weights, validation), CHOSEN_AT)


def popularity_prior(popularity: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logarithm of each item's training events INT64 [n], less the mean; FP32 [n].

    0 for an item without events: nothing is known of it, so it stands as the average.
    """
    warm = popularity > 0
    prior = np.log(np.maximum(popularity, 1)).astype(np.float32)
    return np.where(warm, prior - prior[warm].mean(), np.float32(0))
