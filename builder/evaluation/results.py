"""All figures of one scorer on one set of held-out events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.evaluation.beyond_accuracy import ListMetrics
from builder.evaluation.ranking import CUTOFFS, Scorer, rank_holdout, user_chunk
from builder.evaluation.report import CALIBRATION_SEED, labelled_logits
from builder.evaluation.significance import Difference, Interval, intervals, paired_difference
from builder.evaluation.user_groups import Groups
from builder.model.calibration import LabelledLogits, Reliability, reliability
from model_repository.core.calibration import Calibration

COMPARED: Final = (
    *("ndcg@10", "hr@10", "mrr@10", "ndcg@5", "ndcg@20"),
    *("novelty@10", "diversity@10", "popularity@10"),
)
"""What is tested for a difference; a decision should rest on the first."""
_IN_GROUPS: Final = ("ndcg@10", "hr@10")


@dataclass(frozen=True, eq=False)
class Result:
    """What one scorer did.

    Attributes
    ----------
    per_user
        Metric → FP64 [U]; its figure is the mean over users.
    coverage
        k → share of the catalogue in at least one user's first k. No mean, so no interval.
    calibration, pairs
        What the scorer promises by its logits, and the pairs that it is held to; None where it
        promises nothing.
    """

    name: str
    per_user: dict[str, NDArray[np.float64]]
    coverage: dict[int, float]
    calibration: Calibration | None = None
    pairs: LabelledLogits | None = None

    @property
    def users(self) -> int:
        return len(next(iter(self.per_user.values())))

    @property
    def reliability(self) -> Reliability | None:
        """Promised against found interest."""
        return self._reliability(np.ones(self.users, np.bool_))

    def mean(self, metric: str) -> float:
        return float(self.per_user[metric].mean())

    def metrics(self) -> dict[str, float]:
        means = {name: self.mean(name) for name in self.per_user}
        return means | {f"coverage@{k}": share for k, share in self.coverage.items()}

    def intervals(self) -> dict[str, Interval]:
        """95 % bootstrap interval of each mean over users."""
        return _intervals(self.per_user)

    def in_groups(self, groups: Groups) -> dict[str, dict[str, Any]]:
        """Figures of each group of users, with intervals; a group may be empty."""
        return {name: self._of(members) for name, members in groups.items()}

    def _of(self, members: NDArray[np.bool_]) -> dict[str, Any]:
        users = int(members.sum())
        if users == 0:
            return {"users": 0}
        part = {name: self.per_user[name][members] for name in _IN_GROUPS}
        found = {
            "users": users,
            "metrics": {name: float(values.mean()) for name, values in part.items()},
            "intervals": _intervals(part),
        }
        if (promised := self._reliability(members)) is not None:
            found["ece"] = promised.error
            found["ece_by_chance"] = promised.error_by_chance
        return found

    def _reliability(self, members: NDArray[np.bool_]) -> Reliability | None:
        if self.calibration is None or self.pairs is None:
            return None
        return reliability(self.calibration, self.pairs.of(members))

    def against(self, other: Result) -> dict[str, Difference]:
        """Figures less those of `other` on the same users, for the metrics in `COMPARED`."""
        return {
            name: paired_difference(other.per_user[name], self.per_user[name])
            for name in COMPARED
            if name in self.per_user
        }


def _intervals(per_user: dict[str, NDArray[np.float64]]) -> dict[str, Interval]:
    return dict(zip(per_user, intervals(np.stack(list(per_user.values()), 1)), strict=True))


def result(
    name: str,
    scorer: Scorer,
    holdout: Holdout,
    list_metrics: ListMetrics,
    *,
    calibration: Calibration | None = None,
    among: NDArray[np.bool_] | None = None,
) -> Result:
    """Rank the catalogue, or the items `among` BOOL [n], for every user of `holdout`."""
    items = len(list_metrics.counts)
    ranking = rank_holdout(scorer, holdout, items, among=among)
    pairs = None
    if calibration is not None:
        pairs = labelled_logits(scorer, holdout, seed=CALIBRATION_SEED, chunk=user_chunk(items))
    return Result(
        name,
        ranking.per_user() | list_metrics.per_user(ranking.top),
        {k: ranking.coverage(k) for k in CUTOFFS},
        calibration,
        pairs,
    )
