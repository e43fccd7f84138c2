"""Lists of items that differ from each other.

The methods are those of pyversity. Of its four, two earn their place on MovieLens-100K (`python -m
perf policy`). *dpp*, a determinantal point process (Chen et al. 2018), keeps items that are nearly
the same apart, and reaches the most of the catalogue at any NDCG@10. *msd*, the largest sum of
distances (Gollapudi & Sharma 2009), has the largest mean distance. mmr and ssd are behind both.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats
from ..catalogue import Candidates, Catalogue
from ..contract import DIVERSITY, DIVERSITY_BY, DIVERSITY_METHOD, POOL, TOP_K
from ..errors import InvalidRequest
from ..options import Options
from .base import Context, Stage
from .groups import shares
from .order import picks, prefer, relevance

_ITEM, _TEXT = "item", "text"
_TINY = 1e-6
_LARGEST_EXPONENT = 20.0
"""Of the best candidate. The square of e to it is far from the largest number of FP32."""


class Diversity(Stage):
    """Chooses the list among the first candidates; without effect where there are no more."""

    name = "diversity"

    def applies(self, options: Options) -> bool:
        return bool(options[DIVERSITY.name])

    def check(self, context: Context) -> None:
        by = context.options[DIVERSITY_BY.name]
        if by == _TEXT:
            _check_texts(context.catalogue)
        elif by != _ITEM:
            context.facts.attributes.column(by)

    def wanted(self, context: Context) -> int:
        pool: int = context.options[POOL.name]
        return pool

    def rerank(self, candidates: Candidates, context: Context) -> Candidates:
        options = context.options
        top_k, method = options[TOP_K.name], options[DIVERSITY_METHOD.name]
        among = candidates[: options[POOL.name]]
        if not 1 < top_k < len(among):
            return candidates
        from pyversity import diversify  # here: most requests do without

        relevant, diversity = relevance(among), options[DIVERSITY.name]
        settings = {"diversity": diversity}
        if method == "msd":
            settings["diversity"] = _of_sums(diversity, top_k)
        elif method == "dpp":
            settings["scale"] = _of_kernel(diversity, relevant)
        vectors = _vectors(among, options[DIVERSITY_BY.name], context)
        found = diversify(vectors, relevant, picks(top_k), method, **settings)
        return prefer(candidates, found.indices, context, self.name)


def _of_sums(diversity: float, top_k: int) -> float:
    """The weight of a sum of distances, such that their mean has ``diversity`` as its weight.

    That is when the last item of a list is chosen. So it means the same for a list of any length.
    """
    return diversity / (diversity + (1 - diversity) * (top_k - 1))


def _of_kernel(diversity: float, relevance: Floats) -> float:
    """What pyversity multiplies ``1 - diversity`` by, to have the exponent of the relevance.

    The exponent is (1 - diversity) / (2 diversity), as in Chen et al. 2018: the less diversity, the
    nearer to the plain list. pyversity's own goes to 1, at which a list still differs much.
    """
    exponent = (1 - diversity) / (2 * diversity)
    # None of m numbers is more than the root of m deviations above their mean.
    if exponent * len(relevance) ** 0.5 > _LARGEST_EXPONENT:
        most = (relevance[0] - relevance.mean()) / (relevance.std() + _TINY)
        exponent = min(exponent, _LARGEST_EXPONENT / max(float(most), 1.0))
    return exponent / max(1 - diversity, _TINY)


def _vectors(candidates: Candidates, by: str, context: Context) -> Floats:
    """FP32 [m, w]; candidates are as much alike as the cosine of these."""
    if by == _ITEM:
        return candidates.vectors
    if by == _TEXT:
        return _text_vectors(candidates)
    _, found = shares(context.facts.attributes.column(by), candidates.index)
    # To have no value is a value: else these items would differ from all others.
    return np.column_stack([found, ~found.any(axis=1)]).astype(np.float32)


def _text_vectors(candidates: Candidates) -> Floats:
    """Of an item without training events there is none: it is taken to differ from all others."""
    nearby = candidates.catalogue.neighbourhood
    width = len(nearby.text_mean)
    place = np.minimum(np.searchsorted(nearby.items, candidates.index), len(nearby.items) - 1)
    vectors = nearby.directions[place, :width]
    vectors[nearby.items[place] != candidates.index] = 0
    return vectors


def _check_texts(catalogue: Catalogue) -> None:
    there = len(catalogue.neighbourhood.items)
    if not there or there + len(catalogue.cold) < len(catalogue):
        raise InvalidRequest(
            f"parameter {DIVERSITY_BY.name} is {_TEXT!r}, and the model holds the text vectors of "
            f"{there:,} of its {len(catalogue):,} items; set it to {_ITEM!r}, or to a column of "
            "the items"
        )
