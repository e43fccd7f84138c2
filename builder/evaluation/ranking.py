"""Full-ranking metrics.

Every item of the catalogue competes but those that the user has seen. Ties count against the
target, so a model that scores everything alike gets nothing for it, and a NaN is an error: it
compares false with everything and would rank first (Krichene & Rendle 2020 on why not to sample
negatives).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from model_repository.core.top_k import largest, take

CUTOFFS: Final = (5, 10, 20)
_SCORES: Final = 2**23
"""Scores held at once (32 MB); a chunk of users is as many as that allows."""
_MOST_USERS: Final = 512
_CACHED: Final = 2**17
"""Scores of some users that stay in the processor's cache (512 KiB)."""


class Scorer(Protocol):
    """Anything that can score the whole catalogue for users."""

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        """Logits FP32 [U, n] of every item for every user."""
        ...


@dataclass(frozen=True)
class Ranking:
    """Where each user's held-out item came, and what was recommended.

    Attributes
    ----------
    rank
        INT64 [U], 1 is best.
    top
        INT32 [U, min(20, n)], the best catalogue indices, best first; -1 where the rest was seen.
    items
        Catalogue size n.
    """

    rank: NDArray[np.int64]
    top: NDArray[np.int32]
    items: int

    def hit_rate(self, k: int) -> float:
        return float(np.mean(self.rank <= k))

    def ndcg(self, k: int) -> float:
        """NDCG@k with one relevant item: 1 / log2(1 + rank) within the first k, else 0."""
        return float(np.mean(self.ndcg_per_user(k)))

    def ndcg_per_user(self, k: int) -> NDArray[np.float64]:
        return ndcg_gain(self.rank, k)

    def mrr(self) -> float:
        return float(np.mean(1.0 / self.rank))

    def per_user(self) -> dict[str, NDArray[np.float64]]:
        """Every metric of accuracy for each user, FP64 [U]; its figure is the mean.

        With one relevant item, recall at k is the hit rate at k.
        """
        within = {k: (self.rank <= k).astype(np.float64) for k in CUTOFFS}
        reciprocal = 1.0 / self.rank
        return (
            {f"hr@{k}": hit for k, hit in within.items()}
            | {f"recall@{k}": hit for k, hit in within.items()}
            | {f"ndcg@{k}": self.ndcg_per_user(k) for k in CUTOFFS}
            | {f"mrr@{k}": hit * reciprocal for k, hit in within.items()}
            | {"mrr": reciprocal}
        )

    def coverage(self, k: int) -> float:
        """Share of the catalogue that appears in at least one user's first k."""
        shown = np.unique(self.top[:, :k])
        return float(np.count_nonzero(shown >= 0) / self.items)

    def metrics(self) -> dict[str, float]:
        figures = {f"hr@{k}": self.hit_rate(k) for k in CUTOFFS}
        figures |= {f"ndcg@{k}": self.ndcg(k) for k in CUTOFFS}
        return figures | {"mrr": self.mrr(), "coverage@10": self.coverage(10)}


def user_chunk(items: int) -> int:
    """How many users to score at once, so that their scores fit into a fixed memory."""
    return max(1, min(_MOST_USERS, _SCORES // items))


def rank_holdout(
    scorer: Scorer,
    holdout: Holdout,
    items: int,
    *,
    among: NDArray[np.bool_] | None = None,
    chunk: int | None = None,
    ranked: Callable[[int], object] = lambda _: None,
) -> Ranking:
    """Rank the whole catalogue for every user of `holdout`, seen items masked.

    A target that the user has seen before is not masked: it is what happened next.

    Parameters
    ----------
    among
        BOOL [n]: only these items compete, and the target. None: all do.
    chunk
        Users at a time; None for as many as a fixed memory allows.
    ranked
        Is told how many users were ranked, after each chunk.

    Raises
    ------
    ValueError
        A score is NaN.
    """
    ranks, tops = [], []
    for part in holdout.chunks(chunk or user_chunk(items)):
        scores = np.array(scorer.scores(part.histories), np.float32)
        if among is not None:
            leave_in(scores, among, part.targets)
        ranks.append(rank_scores(scores, part.histories, part.targets))
        tops.append(best_items(scores, max(CUTOFFS)))
        ranked(len(part))
    return Ranking(np.concatenate(ranks), np.concatenate(tops), items)


def leave_in(
    scores: NDArray[np.float32], among: NDArray[np.bool_], targets: NDArray[np.int32]
) -> None:
    """Make scores FP32 [U, n] of what does not compete -inf, in place."""
    users = np.arange(len(targets))
    target_scores = scores[users, targets]
    scores[:, ~among] = -np.inf
    scores[users, targets] = target_scores


def rank_scores(
    scores: NDArray[np.float32], histories: Sequences, targets: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Ranks INT64 [U] of `targets` under `scores` FP32 [U, n].

    `scores` is changed in place: what a user has seen becomes -inf.
    """
    _refuse_nan(scores)
    _mask_seen(scores, histories, targets)
    target_scores = scores[np.arange(len(targets)), targets]
    # The target compares equal with itself: that makes the count a rank that starts at 1, and
    # every other item that ties stands before it.
    rank: NDArray[np.int64] = np.count_nonzero(scores >= target_scores[:, None], axis=1)
    return rank


def _mask_seen(
    scores: NDArray[np.float32], histories: Sequences, targets: NDArray[np.int32]
) -> None:
    """Make scores FP32 [U, n] of what each user has seen, but the target, -inf, in place."""
    users = np.arange(len(targets))
    target_scores = scores[users, targets]
    scores[np.repeat(users, histories.lengths), histories.items] = -np.inf
    scores[users, targets] = target_scores


def _refuse_nan(scores: NDArray[np.float32], before: int = 0) -> None:
    """Raise ValueError for a NaN among the scores of users from the row ``before`` on."""
    if np.isnan(scores).any():
        user, item = np.argwhere(np.isnan(scores))[0]
        raise ValueError(f"the score of item index {item} for user row {before + user} is NaN")


def ranks_by_weight(
    base: NDArray[np.float32],
    added: NDArray[np.float32],
    weights: Sequence[float],
    holdout: Holdout,
) -> NDArray[np.int64]:
    """Ranks INT64 [W, U] of the targets under ``base + weight · added``, FP32 [U, n] each.

    As `rank_scores` of each sum, but seen items are masked once, and all weights are tried on a
    few users while their scores are in the processor's cache. ``added`` may be FP32 [n] too.

    Raises
    ------
    ValueError
        A score is NaN.
    """
    added = np.broadcast_to(added, base.shape)
    ranks = np.empty((len(weights), len(holdout)), np.int64)
    done = 0
    for part in holdout.chunks(max(1, _CACHED // base.shape[1])):
        rows = slice(done, done + len(part))
        users = np.arange(len(part))
        own = base[rows].copy()
        _mask_seen(own, part.histories, part.targets)
        scores = np.empty_like(own)
        for number, weight in enumerate(weights):
            np.multiply(added[rows], np.float32(weight), out=scores)
            scores += own
            _refuse_nan(scores, done)
            reached = scores[users, part.targets]
            ranks[number, rows] = np.count_nonzero(scores >= reached[:, np.newaxis], axis=1)
        done += len(part)
    return ranks


def best_items(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """Catalogue indices INT32 [U, k] of the best scores, best first; -1 where they are -inf.

    Of equal scores the first in the catalogue comes first. ``k`` is at most the catalogue's size
    n in what is returned.
    """
    top = largest(scores, min(k, scores.shape[1]))
    top[np.isneginf(take(scores, top))] = -1
    return top


def ndcg(scores: NDArray[np.float32], holdout: Holdout, cutoff: int) -> float:
    """NDCG@`cutoff` of scores FP32 [U, n] for all users of `holdout`; they are masked in place."""
    rank = rank_scores(scores, holdout.histories, holdout.targets)
    return float(np.mean(ndcg_gain(rank, cutoff)))


def ndcg_gain(rank: NDArray[np.int64], cutoff: int) -> NDArray[np.float64]:
    """What each rank, 1 the best, adds to NDCG@`cutoff`, in the shape of `rank`."""
    gain: NDArray[np.float64] = np.where(rank <= cutoff, 1 / np.log2(1.0 + rank), 0.0)
    return gain
