"""The ranking gate: what is published must recommend as well as the checkpoint.

Parity holds numbers against numbers; this holds what the user gets. The validation users that the
checkpoint carries are scored as a live request would be, from the files and with the engine that
are published, and NDCG@10 is compared with the checkpoint's own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from builder.data.splits import Holdout
from builder.errors import GateError
from builder.evaluation.ranking import rank_holdout, user_chunk
from builder.model.recommender import Recommender
from builder.model.scoring import histories_of
from builder.progress import Progress, silent
from model_repository.core.arrays import Indices
from model_repository.core.scoring import Scorer
from model_repository.core.users import MOST_USERS

CUTOFF: Final = 10


@dataclass(frozen=True)
class RankingFigure:
    """NDCG@10 on `users` validation users, of the checkpoint and of what is published."""

    users: int
    checkpoint: float
    engine: float
    relative_loss: float
    bound: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_ranking(
    scorer: Scorer,
    model: Recommender,
    validation: Holdout,
    *,
    bound: float,
    max_users: int = MOST_USERS,
    progress: Progress = silent,
) -> RankingFigure:
    """Compare NDCG@10; `bound` is the largest relative loss allowed.

    At most `max_users` are scored together, as in a server: an engine may take no more.

    Raises
    ------
    GateError
        The engine loses more, or its answers are NaN.
    """
    items = len(model.catalogue)
    reference = rank_holdout(model.scorer(), validation, items).ndcg(CUTOFF)
    gains: list[float] = []
    for part in validation.chunks(min(max_users, user_chunk(items))):
        try:
            lists = recommended(scorer, part, model.adapter.config.max_history)
        except FloatingPointError as error:
            raise GateError(f"ranking: {error}; nothing was published") from error
        gains += [_gain(best, target) for best, target in zip(lists, part.targets, strict=True)]
        progress("ranking gate", len(gains), len(validation))
    found = float(np.mean(gains))
    loss = (reference - found) / reference if reference else 0.0
    if not loss <= bound:
        raise GateError(
            f"ranking: NDCG@10 on {len(validation)} validation users is {found:.4f} with the "
            f"compiled engine and {reference:.4f} with the checkpoint, {loss:.2%} less, and "
            f"{bound:.2%} is allowed; nothing was published"
        )
    return RankingFigure(len(validation), reference, found, loss, bound)


def recommended(scorer: Scorer, holdout: Holdout, max_history: int) -> list[Indices]:
    """The best `CUTOFF` items of each user, INT32 [k], best first."""
    histories = holdout.histories
    users = scorer.users(histories_of(histories, max_history), profiles=histories.profiles)
    # As in the evaluation, a target that the user has seen before competes like any other.
    masked = [
        np.setdiff1d(histories.items_of(user), holdout.targets[user : user + 1]).astype(np.int32)
        for user in range(len(holdout))
    ]
    best = scorer.best(users, masked, [CUTOFF] * len(users))
    return [candidates.index for candidates in best]


def _gain(best: Indices, target: int) -> float:
    (place,) = np.nonzero(best == target)
    return float(1 / np.log2(2 + place[0])) if len(place) else 0.0
