"""The ranking gate: the compiled graphs must recommend as well as the checkpoint.

Parity holds numbers against numbers; this holds what the user sees. The validation users that the
checkpoint carries go through tokenizer, retriever engine and policy exactly as live requests would,
and NDCG@10 of the answers is compared with the checkpoint's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.errors import GateError
from builder.evaluation.ranking import rank_holdout
from builder.export.parity import Engine, filled
from builder.model.recommender import Recommender
from builder.progress import Progress, silent
from model_repository.slots import NO_ITEM, gap_buckets

CUTOFF: Final = 10


@dataclass(frozen=True)
class RankingFigure:
    """NDCG@10 on `users` validation users, of the checkpoint and of the compiled retriever."""

    users: int
    checkpoint: float
    engine: float
    relative_loss: float
    bound: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_ranking(
    retriever: Engine,
    model: Recommender,
    validation: Holdout,
    min_slots: int = 0,
    *,
    bound: float,
    progress: Progress = silent,
) -> RankingFigure:
    """Compare NDCG@10; `bound` is the largest relative loss allowed.

    ``min_slots`` is that of the export's `Layout`.

    Raises
    ------
    GateError
        The engine loses more, or its answers are NaN.
    """
    reference = rank_holdout(model.scorer(), validation, len(model.catalogue)).ndcg(CUTOFF)
    gains = []
    for user in range(len(validation)):
        index, logit = _recommend(retriever, model, validation, user, min_slots)
        if np.isnan(logit).any():
            raise GateError(
                f"ranking: the engine's logits for validation user "
                f"{validation.histories.user_ids[user]!r} are NaN; nothing was published"
            )
        gains.append(_gain(index.tolist(), int(validation.targets[user])))
        if (user + 1) % 20 == 0 or user + 1 == len(validation):
            progress("ranking gate", user + 1, len(validation))
    found = float(np.mean(gains))
    loss = (reference - found) / reference if reference else 0.0
    figure = RankingFigure(len(validation), reference, found, loss, bound)
    if not loss <= bound:
        raise GateError(
            f"ranking: NDCG@10 on {len(validation)} validation users is {found:.4f} with the "
            f"compiled engine and {reference:.4f} with the checkpoint, {loss:.2%} less, and "
            f"{bound:.2%} is allowed; nothing was published"
        )
    return figure


def live_request(
    model: Recommender, validation: Holdout, user: int
) -> dict[str, NDArray[np.int32]]:
    """What would become of a validation user's request.

    Returns
    -------
    HISTORY_SLOT, HISTORY_ACTION_ID and HISTORY_GAP INT32 [H], EXCLUDE_SLOT INT32 [E], and
    PROFILE_ID INT32 [P] where the model knows profiles.
    """
    histories = validation.histories
    items = histories.items_of(user)
    recent = items[-model.adapter.config.max_history :]
    actions, times = histories.actions_of(user), histories.times_of(user)
    blank = np.zeros(len(recent), np.int32)
    # As in the evaluation, a target that the user has met before competes like any other.
    exclude = np.setdiff1d(items, validation.targets[user : user + 1])
    request = {
        "HISTORY_SLOT": recent,
        "HISTORY_ACTION_ID": blank if actions is None else actions[-len(recent) :],
        "HISTORY_GAP": blank if times is None else gap_buckets(times[-len(recent) :]),
        "EXCLUDE_SLOT": exclude.astype(np.int32),
    }
    if columns := len(model.profile):
        profiles = histories.profiles
        request["PROFILE_ID"] = np.zeros(columns, np.int32) if profiles is None else profiles[user]
    return request


def _recommend(
    retriever: Engine, model: Recommender, validation: Holdout, user: int, min_slots: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    padding = {"HISTORY_SLOT": NO_ITEM, "EXCLUDE_SLOT": NO_ITEM}
    answer = retriever.run(
        {"VECTOR": np.zeros((1, model.text_vectors.shape[1]), np.float32)}
        | {
            name: filled(row[np.newaxis], min_slots, padding.get(name, 0))
            for name, row in live_request(model, validation, user).items()
        }
    )
    return answer["INDEX"][0], answer["INDEX_LOGIT"][0]


def _gain(index: Sequence[int], target: int) -> float:
    best = list(index[:CUTOFF])
    return float(1 / np.log2(2 + best.index(target))) if target in best else 0.0
