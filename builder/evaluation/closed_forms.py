"""The baselines that need no training by steps, as `evaluate` and `baselines` list them."""

from __future__ import annotations

import logging
from typing import Final

from builder.data.sequences import Sequences
from builder.data.splits import Split
from builder.evaluation.baselines import View, baselines, recency_ease
from builder.evaluation.decayed_popularity import DECAYED, JOINED, decayed_popularity
from builder.evaluation.ranking import Scorer
from builder.progress import Progress, silent

RECENCY_EASE: Final = "EASE with recency"
CLOSED_FORMS: Final = ("popularity", "ItemKNN", "EASE", RECENCY_EASE, DECAYED, JOINED)

log = logging.getLogger(__name__)


def closed_forms(
    split: Split,
    items: int,
    view: View = Sequences.without_context,
    *,
    progress: Progress = silent,
) -> dict[str, Scorer]:
    """`baselines`, EASE with recency, and decayed popularity alone and beside it.

    What needs times is left out where the log has none, and the log says so.
    """
    found = baselines(split, items, view, progress=progress)
    recency = recency_ease(split, items, view, progress=progress)
    found[RECENCY_EASE] = recency.final
    if split.train.times is None:
        log.warning(
            "decayed popularity is left out: the log has no times; name their column with "
            "--column time=NAME"
        )
    else:
        found |= decayed_popularity(split, items, recency, view)
    return found
