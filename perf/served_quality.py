"""Quality of the answers: NDCG@10 on the workload's own users.

They are the checkpoint's validation users, by which the model was chosen. So the figures compare
systems; they are not the quality of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from client import Item, RecommenderClient
from perf import goals
from perf.errors import PerfError
from perf.two_step import TwoStep
from perf.workload import User, Workload

_USERS: Final = 200
_TOP: Final = 10


def measure_quality(
    client: RecommenderClient, two_step: TwoStep | None, workload: Workload
) -> dict[str, dict[str, float]]:
    """Return NDCG@10 of each task and system.

    ``recommend`` finds the target in the whole catalogue but for the history; ``rank`` among 99
    uniformly drawn others, of which the server knows nothing but their texts. Histories are sent
    with their actions here; the timed requests are ids alone.
    """
    users = workload.users[:_USERS]

    def ours(user: User) -> Sequence[str]:
        return [item.id for item in client.recommend(user.events, top_k=_TOP)]

    systems: dict[str, Callable[[User], Sequence[str]]] = {goals.OURS: ours}
    if two_step is not None:
        systems[goals.TWO_STEP] = lambda user: two_step.answer(user, workload)
    ranks = [_unseen_rank(client, workload, number) for number in range(len(users))]
    return {
        "recommend": {
            name: ndcg([_rank(recommend(user), user.target) for user in users])
            for name, recommend in systems.items()
        },
        "rank, unseen texts": {goals.OURS: ndcg(ranks)},
    }


def ndcg(ranks: Sequence[int], k: int = 10) -> float:
    """NDCG@k of one relevant item each, from its rank (0: first)."""
    return float(np.mean([1 / np.log2(rank + 2) if rank < k else 0.0 for rank in ranks]))


def rank_of_target(scores: NDArray[np.float32], target: int) -> int:
    """How many of the others score at least as high: ties count against the target."""
    if np.isnan(scores).any():
        raise PerfError("a score is not a number")
    return int((scores >= scores[target]).sum()) - 1


def _rank(found: Sequence[str], target: str) -> int:
    return found.index(target) if target in found else _TOP


def _unseen_rank(client: RecommenderClient, workload: Workload, number: int) -> int:
    user, ids = workload.users[number], workload.candidates(number)
    items = [Item(f"unseen-{item}", workload.text_of(item)) for item in ids]
    scores = np.array([item.logit for item in client.rank(user.events, items)], np.float32)
    return rank_of_target(scores, ids.index(user.target))
