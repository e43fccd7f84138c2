"""Chooses on the validation users what stands beside the network in closed form.

That is the linear term and a prior of popularity. Together they are what a model falls back on
where the log is too short to learn from: at the largest weight the linear term decides alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.evaluation.ranking import ndcg
from builder.model.linear import EASE_LIMIT, LinearTerm, ease, item_neighbours, text_neighbours
from builder.model.recommender import linear_scores
from builder.progress import Progress, silent

log = logging.getLogger(__name__)

REGULARISATION: Final = (10.0, 30.0, 100.0, 200.0, 400.0, 800.0)
REGULARISATION_LARGE: Final = (100.0, 400.0)
"""Above `LARGE_CATALOGUE` items, where an inverse takes from seconds to a minute."""
LARGE_CATALOGUE: Final = 5_000
SHRINKAGE: Final = (10.0, 100.0)
TEXT_SHARE: Final = (0.01, 0.03, 0.1, 0.3)
"""How much of the neighbours by text is added to what is met together. Where users have five
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


@dataclass(frozen=True)
class Companions:
    """What stands beside the network.

    ``prior`` is added to the items' biases, FP32 [n]; ``ndcg`` is the validation NDCG@10 of the
    whole.
    """

    linear: LinearTerm
    prior: NDArray[np.float32]
    ndcg: float


@dataclass(frozen=True)
class Terms:
    """Candidates for B by name, and the neighbours by text that any of them may be mixed with."""

    together: dict[str, LinearTerm]
    text: LinearTerm


def linear_terms(
    train: Sequences, text_vectors: NDArray[np.float32], keep: int, *, progress: Progress = silent
) -> Terms:
    """EASE, up to `EASE_LIMIT` items, cosine neighbours, and neighbours by text."""
    items = len(text_vectors)
    together = {}
    ridges = REGULARISATION if items <= LARGE_CATALOGUE else REGULARISATION_LARGE
    if items <= EASE_LIMIT:
        for done, ridge in enumerate(ridges, 1):
            matrix = ease(train, items, regularisation=ridge)
            together[f"EASE, λ {ridge:g}"] = LinearTerm.pruned(matrix, keep)
            progress("EASE", done, len(ridges))
    for shrinkage in SHRINKAGE:
        term = item_neighbours(train, items, shrinkage=shrinkage, keep=keep)
        together[f"neighbours, shrinkage {shrinkage:g}"] = term
    return Terms(together, text_neighbours(text_vectors, _popularity(train, items) > 0, keep=keep))


def choose_companions(
    terms: Terms,
    network: NDArray[np.float32],
    validation: Holdout,
    train: Sequences,
    max_history: int,
    *,
    progress: Progress = silent,
) -> Companions:
    """What has the best NDCG@`CHOSEN_AT` beside the network's logits FP32 [U, n].

    One choice after the other, each with the weight that suits it best: B at `USUAL_DECAY`, its
    share of text, the decay, and the prior.
    """
    keep = terms.text.index.shape[1]
    tried = 0

    def best(candidates: Iterable[tuple[str, LinearTerm]]) -> tuple[str, LinearTerm]:
        nonlocal tried
        found = []
        for name, term in candidates:
            linear = linear_scores(term, validation.histories, max_history)
            found += [
                (
                    ndcg(network + np.float32(weight) * linear, validation, CHOSEN_AT),
                    name,
                    term,
                    weight,
                )
                for weight in WEIGHT
            ]
            tried += 1
            progress("choose the linear term", tried, total)
        _, name, term, weight = max(found, key=lambda each: each[0])  # the first of equals
        return name, term.weighted(decay=term.decay, weight=weight)

    def with_text(name: str, term: LinearTerm) -> Iterator[tuple[str, LinearTerm]]:
        yield name, term
        for share in TEXT_SHARE:
            mixed = term.matrix + np.float32(share) * terms.text.matrix
            yield (
                f"{name} and {share:g} of the neighbours by text",
                LinearTerm.pruned(mixed.tocsr(), keep).weighted(decay=USUAL_DECAY, weight=1),
            )

    alone = {**terms.together, "neighbours by text": terms.text}
    total = len(alone) + len(TEXT_SHARE) + 1 + len(DECAY)
    name, term = best(
        (name, term.weighted(decay=USUAL_DECAY, weight=1)) for name, term in alone.items()
    )
    if term.weight and name in terms.together:
        name, term = best(with_text(name, term))
    name, term = best((name, term.weighted(decay=decay, weight=1)) for decay in DECAY)

    whole = network + np.float32(term.weight) * linear_scores(
        term, validation.histories, max_history
    )
    popularity = popularity_prior(_popularity(train, network.shape[1]))
    priors = [
        (ndcg(whole + np.float32(weight) * popularity, validation, CHOSEN_AT), weight)
        for weight in PRIOR
    ]
    _, weight = max(priors, key=lambda each: each[0])
    figure = ndcg(whole + np.float32(weight) * popularity, validation, 10)
    log.info(
        "linear term: %s, decay %g, weight %g; popularity weight %g; validation NDCG@10 %.4f, "
        "of the network alone %.4f",
        name,
        term.decay,
        term.weight,
        weight,
        figure,
        ndcg(network.copy(), validation, 10),
    )
    return Companions(term, np.float32(weight) * popularity, figure)


def popularity_prior(popularity: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logarithm of each item's training events INT64 [n], less the mean; FP32 [n].

    0 for an item without events: nothing is known of it, so it stands as the average.
    """
    met = popularity > 0
    prior = np.log(np.maximum(popularity, 1)).astype(np.float32)
    return np.where(met, prior - prior[met].mean(), np.float32(0))


def _popularity(train: Sequences, items: int) -> NDArray[np.int64]:
    return np.bincount(train.items, minlength=items)
