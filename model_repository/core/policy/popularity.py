"""Fewer popular items: the logarithm of an item's events is taken off its logit, times a weight."""

from __future__ import annotations

import numpy as np

from ..catalogue import Candidates
from ..contract import POOL, POPULARITY_PENALTY
from ..errors import InvalidRequest
from ..options import Options
from .base import Context, Stage
from .order import prefer, ranked_logits


class Popularity(Stage):
    """Chooses the list; its items stay in the model's order."""

    name = "popularity"

    def applies(self, options: Options) -> bool:
        return bool(options[POPULARITY_PENALTY.name])

    def check(self, context: Context) -> None:
        if not len(context.catalogue.log_events):
            raise InvalidRequest(
                f"parameter {POPULARITY_PENALTY.name} needs the events of each item, which this "
                "model was exported without; export it again with `python -m builder export`"
            )

    def wanted(self, context: Context) -> int:
        pool: int = context.options[POOL.name]
        return pool

    def rerank(self, candidates: Candidates, context: Context) -> Candidates:
        among = candidates[: context.options[POOL.name]]
        penalty = context.options[POPULARITY_PENALTY.name]
        value = ranked_logits(among) - penalty * context.catalogue.log_events[among.index]
        places = np.argsort(-value, kind="stable").astype(np.int32)
        return prefer(candidates, places, context, self.name)
