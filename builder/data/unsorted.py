"""The events of a log in the order of its file, and their way to the order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.tables import Interactions

LIKED: Final = "liked"
DISLIKED: Final = "disliked"
"""Actions of a log that has none, but ratings and a minimum that not all of them reach."""


_AT_ONCE: Final = 1 << 22


def count(numbers: NDArray[np.int32], least: int) -> NDArray[np.int64]:
    """How often each number below ``least`` occurs, INT64 [``least``].

    A part at a time: numpy makes a copy of twice the size of what it counts.
    """
    found = np.zeros(least, np.int64)
    for start in range(0, len(numbers), _AT_ONCE):
        found += np.bincount(numbers[start : start + _AT_ONCE], minlength=least)
    return found


@dataclass(eq=False)
class UnsortedEvents:
    """The ``E`` events of a log, as its file has them.

    Attributes
    ----------
    user_ids, user, item, action, actions, target
        As in `Interactions`.
    ticks
        INT64 [E], time since 1970; None when the log has no times.
    per_second
        How many ticks a second has.
    rating
        FP32 [E], NaN where there is none; None unless they were asked for.
    """

    user_ids: list[str]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    ticks: NDArray[np.int64] | None
    per_second: int
    action: NDArray[np.int32] | None
    actions: list[str]
    target: NDArray[np.bool_] | None
    rating: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.user)

    def sorted(self) -> Interactions:
        """The events by user and time; these are forgotten, an array after the other.

        Both sorts are stable: events at the same time stay in the order of the file.
        """
        counts = count(self.user, len(self.user_ids))
        time = None
        if self.ticks is None:
            order = np.argsort(self.user, kind="stable")
        else:
            order = np.lexsort((self.ticks, self.user))
        self.user = np.zeros(0, np.int32)
        if self.ticks is not None:
            time = self.ticks[order]
            self.ticks = None
            time //= self.per_second  # rounds down
        item = self.item[order]
        self.item = np.zeros(0, np.int32)
        action = None if self.action is None else self.action[order]
        target = None if self.target is None else self.target[order]
        actions = self.actions
        if target is not None and target.all():
            target = None
        elif target is not None and action is None:
            # Whoever asks says by an action what the log said by its ratings.
            action, actions = np.where(target, 2, 1).astype(np.int32), [DISLIKED, LIKED]
        return Interactions(
            user_ids=self.user_ids,
            user=np.repeat(np.arange(len(self.user_ids), dtype=np.int32), counts),
            item=item,
            time=time,
            action=action,
            actions=actions,
            target=target,
        )
