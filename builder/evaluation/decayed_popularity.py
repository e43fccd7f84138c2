"""What is popular now, as a baseline: alone, and joined with EASE by one weight.

Popular items change, and a network that was trained once does not see it. This is the simplest
rival that does. Both parameters are chosen on validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from builder.data.decayed_counts import DecayedCounts
from builder.data.sequences import Sequences
from builder.data.splits import Split
from builder.evaluation.baselines import Fitted, View
from builder.evaluation.ranking import Scorer, ndcg_gain, ranks_by_weight, user_chunk

_DAY: Final = 86_400.0
TIME_CONSTANTS: Final = tuple(_DAY * days for days in (1 / 24, 1 / 4, 1, 3, 7, 30, 91, 365))
"""Seconds: an hour, six hours, a day, three days, a week, a month, a quarter, a year."""
WEIGHTS: Final = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Of log(1 + count) beside EASE."""

DECAYED: Final = "decayed popularity"
JOINED: Final = "decayed popularity + EASE"


class DecayedPopularity:
    """Decayed count of each item when a user asks; the histories need their request times."""

    def __init__(self, counts: DecayedCounts) -> None:
        self._counts = counts

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        return _counts_for(self._counts, histories)


class WithTrend:
    """The scores of another baseline plus ``weight * log(1 + count)``."""

    def __init__(self, other: Scorer, counts: DecayedCounts, weight: float) -> None:
        self._other = other
        self._counts = counts
        self._weight = np.float32(weight)

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        trend = np.log1p(_counts_for(self._counts, histories))
        scores: NDArray[np.float32] = self._other.scores(histories) + self._weight * trend
        return scores


class Decay(NamedTuple):
    """A time constant in seconds, and the weight of the trend beside other scores."""

    time_constant: float
    weight: float


def decayed_popularity(
    split: Split,
    items: int,
    recency_ease: Fitted | None,
    view: View = Sequences.without_context,
) -> Mapping[str, Scorer]:
    """`DECAYED`, and `JOINED` where there is an EASE with recency to join.

    For the choice the events of ``split.counted_on_validation`` are counted, for the test those of
    ``split.counted``: those before each target, see `builder.data.decayed_counts`.

    Raises
    ------
    ValueError
        The log has no times.
    """
    alone = choose_decay(split, items, None, view)
    found: dict[str, Scorer] = {
        DECAYED: DecayedPopularity(DecayedCounts(view(split.counted), items, alone.time_constant))
    }
    if recency_ease is not None:
        beside = choose_decay(split, items, recency_ease.on_train, view)
        counts = DecayedCounts(view(split.counted), items, beside.time_constant)
        found[JOINED] = WithTrend(recency_ease.final, counts, beside.weight)
    return found


def choose_decay(
    split: Split, items: int, other: Scorer | None, view: View = Sequences.without_context
) -> Decay:
    """The trend with the highest NDCG@10 on validation, beside another scorer or alone.

    Of equal ones the first is taken: the smallest weight, the shortest time constant.
    """
    log = view(split.counted_on_validation)
    counts = {each: DecayedCounts(log, items, each) for each in TIME_CONSTANTS}
    weights = (1.0,) if other is None else WEIGHTS
    gains = dict.fromkeys((Decay(each, weight) for weight in weights for each in counts), 0.0)
    for part in split.validation.chunks(user_chunk(items)):
        alone = np.zeros((len(part), items), np.float32)
        base = alone if other is None else other.scores(part.histories)
        for time_constant, counted in counts.items():
            trend = np.log1p(_counts_for(counted, part.histories))
            ranks = ranks_by_weight(base, trend, weights, part)
            for weight, of_users in zip(weights, ndcg_gain(ranks, 10), strict=True):
                gains[Decay(time_constant, weight)] += of_users.sum()
    return max(gains, key=gains.__getitem__)


def _counts_for(counts: DecayedCounts, histories: Sequences) -> NDArray[np.float32]:
    if histories.request_times is None:
        raise ValueError("decayed popularity needs to know when each history is asked about")
    return counts.at(histories.request_times)
