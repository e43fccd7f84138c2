"""Training histories as windows of events, each event a target once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from builder.data.sequences import Sequences
from builder.training.objective import NO_TARGET
from model_repository.slots import gap_buckets


@dataclass(frozen=True, eq=False)
class Window:
    """Consecutive events of one user.

    ``profile`` has the ids of the user's profile, INT32 [P], None where there are none.

    ``items`` are INT32 [S + 1], ``actions`` and ``gaps`` INT32 [S], of all events but the last,
    which is only ever a target. ``opening`` says that the first event is the user's first, so that
    it is a target too: what a new user starts with.
    """

    items: NDArray[np.int32]
    actions: NDArray[np.int32]
    gaps: NDArray[np.int32]
    opening: bool
    profile: NDArray[np.int32] | None = None


class Windows(Dataset[Window]):
    """Every history cut, from its end, into windows that overlap by the one event between."""

    def __init__(self, train: Sequences, max_history: int) -> None:
        self._windows = [
            window for user in range(len(train)) for window in _windows_of(train, user, max_history)
        ]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Window:
        return self._windows[index]


def _windows_of(train: Sequences, user: int, max_history: int) -> list[Window]:
    items, times, actions = train.items_of(user), train.times_of(user), train.actions_of(user)
    profile = None if train.profiles is None else train.profiles[user]
    windows = []
    stop = len(items)
    while stop > 0:
        start = max(0, stop - max_history - 1)
        known = slice(start, stop - 1)
        blank = np.zeros(stop - 1 - start, np.int32)
        windows.append(
            Window(
                items[start:stop],
                blank if actions is None else actions[known],
                blank if times is None else gap_buckets(times[known]),
                opening=start == 0,
                profile=profile,
            )
        )
        stop = start + 1 if start > 0 else 0
    return windows


class _Histories(TypedDict):
    items: Tensor
    actions: Tensor
    gaps: Tensor
    targets: Tensor


class Batch(_Histories, total=False):
    """INT64 [B, S] each; ``targets`` INT64 [B, S + 1]. See `NextItemObjective.forward`.

    ``profiles`` INT64 [B, P] are there if anything is known of the users.
    """

    profiles: Tensor


def collate(windows: Sequence[Window]) -> Batch:
    """Pad windows on the right to the longest."""
    events = max(len(window.gaps) for window in windows)
    items, actions, gaps = np.zeros((3, len(windows), events), np.int64)
    targets = np.full((len(windows), events + 1), NO_TARGET, np.int64)
    for row, window in enumerate(windows):
        known = len(window.gaps)
        items[row, :known] = window.items[:-1]
        actions[row, :known] = window.actions
        gaps[row, :known] = window.gaps
        targets[row, : known + 1] = window.items
        if not window.opening:
            targets[row, 0] = NO_TARGET
    batch = Batch(
        items=torch.from_numpy(items),
        actions=torch.from_numpy(actions),
        gaps=torch.from_numpy(gaps),
        targets=torch.from_numpy(targets),
    )
    profiles = [window.profile for window in windows if window.profile is not None]
    if profiles:
        batch["profiles"] = torch.from_numpy(np.stack(profiles).astype(np.int64))
    return batch
