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

from builder.data.request_time import NO_CLOCK, Clock
from builder.data.sequences import Sequences
from builder.model.interest import time_gaps
from builder.training.objective import NO_TARGET
from model_repository.core.users import ages


@dataclass(frozen=True, eq=False)
class Window:
    """Consecutive events of one user.

    ``profile`` has the ids of the user's profile, INT32 [P]; where the time of a request is known,
    [S + 1, P] of the user and the request that each event answers; None where there are none.

    ``items`` are INT32 [S + 1], ``actions`` and ``gaps`` INT32 [S], of all events but the last,
    which is only ever predicted. ``opening`` says that the first event is the user's first, so that
    it is predicted too: what a new user starts with.

    ``context`` BOOL [S + 1] marks the events that are no targets; None where all are.
    """

    items: NDArray[np.int32]
    actions: NDArray[np.int32]
    gaps: NDArray[np.int32]
    opening: bool
    profile: NDArray[np.int32] | None = None
    context: NDArray[np.bool_] | None = None


class Windows(Dataset[Window]):
    """Every history cut, from its end, into windows that overlap by the one event between."""

    def __init__(self, train: Sequences, max_history: int, clock: Clock = NO_CLOCK) -> None:
        self._windows = [
            window
            for user in range(len(train))
            for window in _windows_of(train, user, max_history, clock)
        ]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Window:
        return self._windows[index]


def _windows_of(train: Sequences, user: int, max_history: int, clock: Clock) -> list[Window]:
    items, times, actions = train.items_of(user), train.times_of(user), train.actions_of(user)
    target = train.targets_of(user)
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
                blank if times is None else _gaps(times[known]),
                opening=start == 0,
                profile=_profile_of(train, user, clock, slice(start, stop)),
                context=None if target is None else ~target[start:stop],
            )
        )
        stop = start + 1 if start > 0 else 0
    return windows


def _gaps(times: NDArray[np.int64]) -> NDArray[np.int32]:
    gaps: NDArray[np.int32] = time_gaps(torch.from_numpy(ages(times))).int().numpy()
    return gaps


def _profile_of(
    train: Sequences, user: int, clock: Clock, events: slice
) -> NDArray[np.int32] | None:
    """INT32 [P], or of the request that each of these events answers, [S + 1, P]."""
    if train.profiles is None:
        return None
    profile: NDArray[np.int32] = train.profiles[user]
    times = train.times_of(user)
    if times is None or not clock.columns:
        return profile
    asked = clock.ids(times[events])
    each = np.tile(profile, (len(asked), 1))
    each[:, -asked.shape[1] :] = asked
    return each


class _Histories(TypedDict):
    items: Tensor
    actions: Tensor
    gaps: Tensor
    targets: Tensor


class Batch(_Histories, total=False):
    """INT64 [B, S] each; ``targets`` INT64 [B, S + 1]. See `NextItemObjective.forward`.

    ``profiles`` INT64 [B, P] or [B, S + 1, P] are there if anything is known of the users,
    ``context`` BOOL [B, S + 1] if the log has events that are no targets.
    """

    profiles: Tensor
    context: Tensor


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
        batch["profiles"] = torch.from_numpy(_padded(profiles, events + 1))
    if any(window.context is not None for window in windows):
        context = np.zeros(targets.shape, np.bool_)
        for row, window in zip(context, windows, strict=True):
            if window.context is not None:
                row[: len(window.context)] = window.context
        batch["context"] = torch.from_numpy(context)
    return batch


def _padded(profiles: Sequence[NDArray[np.int32]], length: int) -> NDArray[np.int64]:
    """INT64 [B, P], or [B, length, P] of profiles that differ from event to event."""
    if profiles[0].ndim == 1:
        return np.stack(profiles).astype(np.int64)
    padded = np.zeros((len(profiles), length, profiles[0].shape[1]), np.int64)
    for row, profile in zip(padded, profiles, strict=True):
        row[: len(profile)] = profile
    return padded
