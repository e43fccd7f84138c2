"""Calibrated lists: the mix of genres, or of another column, is that of the user's history.

A list is chosen one item after another, each the one with the largest sum of its relevance and of
how well the mix of the list then fits: the Kullback-Leibler divergence of Steck 2018.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ..arrays import Floats, Indices
from ..catalogue import Candidates
from ..contract import MATCH, POOL, TOP_K
from ..options import Options
from .base import Context, Stage
from .groups import mix, shares
from .order import picks, prefer, relevance

_WEIGHT: Final = 0.5
"""Of the fit; the rest is the relevance's. It halves the divergence on MovieLens-100K, for 3 % of
NDCG@10 or less (`python -m perf policy`)."""
_SMOOTHING: Final = 0.01
"""Share of the history's mix that a list is taken to have: without it a genre that is not there yet
would count infinitely much (Steck 2018, equation 7)."""
_MOST_VALUES: Final = 100
"""Of a history's values the most frequent count: of a column with more, such as brands, a list has
no room for the others."""


class Match(Stage):
    """Without effect for a history that has no value in the column."""

    name = "match"

    def applies(self, options: Options) -> bool:
        return bool(options[MATCH.name])

    def check(self, context: Context) -> None:
        context.facts.attributes.column(context.options[MATCH.name])

    def wanted(self, context: Context) -> int:
        pool: int = context.options[POOL.name]
        return pool

    def rerank(self, candidates: Candidates, context: Context) -> Candidates:
        options = context.options
        top_k = options[TOP_K.name]
        column = context.facts.attributes.column(options[MATCH.name])
        values, wanted = mix(column, context.request.seen)
        among = candidates[: options[POOL.name]]
        if not len(values) or len(among) <= top_k:
            return candidates
        often = np.sort(np.argsort(-wanted, kind="stable")[:_MOST_VALUES])
        values, wanted = values[often], wanted[often]
        there, of_each = shares(column, among.index)
        table = np.zeros((len(among), len(values)), np.float32)
        _, own, of_history = np.intersect1d(there, values, return_indices=True)
        table[:, of_history] = of_each[:, own]
        places = _chosen(relevance(among), table, wanted, min(picks(top_k), len(among)))
        return prefer(candidates, places, context, self.name)


def _chosen(relevance: Floats, shares: Floats, wanted: Floats, number: int) -> Indices:
    """The places INT32 [number] of candidates, in the order in which they are chosen.

    ``shares`` FP32 [m, g] are those of each candidate's values, ``wanted`` FP32 [g] those of the
    history.
    """
    of_relevance = (1 - _WEIGHT) * relevance
    listed = np.zeros_like(wanted)
    found = np.zeros(number, np.int32)
    for size in range(1, number + 1):
        of_list = (1 - _SMOOTHING) / size * (shares + listed) + _SMOOTHING * wanted
        # Of the divergence, the part that the list has a say in.
        value = of_relevance + _WEIGHT * (np.log(of_list) @ wanted)
        value[found[: size - 1]] = -np.inf
        found[size - 1] = best = value.argmax()
        listed += shares[best]
    return found
