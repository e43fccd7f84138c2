"""Ragged histories → padded tensors, the same for training, evaluation and the parity gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from builder.data.sequences import Sequences
from model_repository.slots import gap_buckets


@dataclass(frozen=True, eq=False)
class PaddedHistories:
    """The last events of each user, oldest first, padded on the right with 0.

    Attributes
    ----------
    items, actions, gaps
        INT64 [U, H]: catalogue indices, action ids (0: not known), gap buckets (0: not known).
    lengths
        INT64 [U].
    profiles
        INT64 [U, P], ids of their profiles (0: not known); None when nothing of the users is known.
    """

    items: Tensor
    actions: Tensor
    gaps: Tensor
    lengths: Tensor
    profiles: Tensor | None = None


def pad_histories(histories: Sequences, max_history: int) -> PaddedHistories:
    """Take the last `max_history` events of every user, as the tokenizer does in serving."""
    lengths = np.minimum(histories.lengths, max_history)
    longest = int(lengths.max(initial=0))
    items, actions, gaps = np.zeros((3, len(histories), longest), np.int64)
    for user, length in enumerate(lengths):
        if not length:
            continue
        items[user, :length] = histories.items_of(user)[-length:]
        if (events := histories.actions_of(user)) is not None:
            actions[user, :length] = events[-length:]
        if (times := histories.times_of(user)) is not None:
            gaps[user, :length] = gap_buckets(times[-length:])
    profiles = histories.profiles
    return PaddedHistories(
        torch.from_numpy(items),
        torch.from_numpy(actions),
        torch.from_numpy(gaps),
        torch.from_numpy(lengths),
        None if profiles is None else torch.from_numpy(profiles.astype(np.int64)),
    )
