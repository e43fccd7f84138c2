"""Events per user, oldest first, in one flat array each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from builder.data.tables import Interactions


@dataclass(frozen=True, eq=False)
class Sequences:
    """The histories of ``U`` users, ``E`` events in all (compressed sparse rows).

    Attributes
    ----------
    user_ids
        ``U`` ids, distinct but in the histories of a replay.
    offsets
        INT64 [U + 1]: the events of user ``u`` are ``offsets[u]`` to ``offsets[u + 1]``.
    items
        INT32 [E], catalogue indices, oldest first within a user.
    times
        INT64 [E], Unix seconds; None when the log has no times.
    actions
        INT32 [E], 1-based index into ``Interactions.actions``, 0 for "not known"; None when the
        log has none.
    profiles
        INT32 [U, P], ids of each user's profile, what is known of the request at its end, 0 for
        "not known"; None when nothing of the users is known. See `builder.data.profiles`.
    target
        BOOL [E], which events are to be predicted. The others are context: known of a user, seen,
        but not what a recommendation is to lead to. None when there is no context.
    request_times
        INT64 [U], Unix seconds of the request that comes after each history, None when they are
        not known. What happened at such a time or later is not known of anybody.
    """

    user_ids: list[str]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64] | None
    actions: NDArray[np.int32] | None
    profiles: NDArray[np.int32] | None = None
    target: NDArray[np.bool_] | None = None
    request_times: NDArray[np.int64] | None = None

    @classmethod
    def from_interactions(cls, interactions: Interactions, min_events: int = 1) -> Sequences:
        """Group the events by user, leaving out users with fewer than ``min_events`` targets."""
        counts = np.bincount(interactions.user, minlength=len(interactions.user_ids))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        everyone = cls(
            interactions.user_ids, offsets, interactions.item, interactions.time,
            interactions.action, target=interactions.target,
        )  # fmt: skip
        enough = np.diff(everyone.targets_before) >= max(min_events, 1)
        return everyone.part(offsets[:-1], offsets[1:], enough)

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """INT64 [U], events of each user."""
        return np.diff(self.offsets)

    @property
    def targets_before(self) -> NDArray[np.int64]:
        """INT64 [U + 1], how many targets lie before each of the offsets."""
        if self.target is None:
            return self.offsets
        before: NDArray[np.int64] = np.concatenate([[0], np.cumsum(self.target)])[self.offsets]
        return before

    @property
    def target_places(self) -> NDArray[np.int64]:
        """INT64 [T], flat positions of the targets."""
        if self.target is None:
            return np.arange(len(self.items))
        return np.flatnonzero(self.target)

    def without_context(self) -> Sequences:
        """Return the targets alone; a user without any stays, with an empty history."""
        if self.target is None:
            return self
        return replace(self.where(self.target), target=None)

    def without_distinction(self) -> Sequences:
        """Return every event as a target, the context too."""
        return self if self.target is None else replace(self, target=None)

    def items_of(self, user: int) -> NDArray[np.int32]:
        """INT32 [H], a view: the catalogue indices that this user has seen, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def times_of(self, user: int) -> NDArray[np.int64] | None:
        """INT64 [H], a view: the Unix seconds of this user's events, or None."""
        if self.times is None:
            return None
        return self.times[self.offsets[user] : self.offsets[user + 1]]

    def actions_of(self, user: int) -> NDArray[np.int32] | None:
        """INT32 [H], a view: what this user did in each event, or None."""
        if self.actions is None:
            return None
        return self.actions[self.offsets[user] : self.offsets[user + 1]]

    def targets_of(self, user: int) -> NDArray[np.bool_] | None:
        """BOOL [H], a view: which of this user's events are targets; None when all are."""
        if self.target is None:
            return None
        return self.target[self.offsets[user] : self.offsets[user + 1]]

    def rows(self, start: int, stop: int) -> Sequences:
        """Users ``start`` to ``stop``, as views of the same events."""
        offsets = self.offsets[start : stop + 1]
        events = slice(offsets[0], offsets[-1])
        return Sequences(
            self.user_ids[start:stop],
            offsets - offsets[0],
            self.items[events],
            None if self.times is None else self.times[events],
            None if self.actions is None else self.actions[events],
            None if self.profiles is None else self.profiles[start:stop],
            None if self.target is None else self.target[events],
            None if self.request_times is None else self.request_times[start:stop],
        )

    def where(self, events: NDArray[np.bool_]) -> Sequences:
        """Take the events marked in BOOL [E]; a user without any stays, with an empty history."""
        before = np.concatenate([[0], np.cumsum(events)])
        return Sequences(
            self.user_ids,
            before[self.offsets].astype(np.int64),
            self.items[events],
            None if self.times is None else self.times[events],
            None if self.actions is None else self.actions[events],
            self.profiles,
            None if self.target is None else self.target[events],
            self.request_times,
        )

    def part(
        self, starts: NDArray[np.int64], stops: NDArray[np.int64], users: NDArray[np.bool_]
    ) -> Sequences:
        """Take events ``starts[u]`` to ``stops[u]`` (INT64 [U], flat positions) of some users.

        ``users`` is BOOL [U]; the order of users and events stays.
        """
        return self._taken(np.flatnonzero(users), starts[users], stops[users])

    def before(self, places: NDArray[np.int64]) -> Sequences:
        """The history before each of the events at flat positions INT64 [R], a row each.

        A user has as many rows as events that are asked for, so ids may repeat.
        """
        users = np.searchsorted(self.offsets, places, side="right") - 1
        return self._taken(users, self.offsets[users], places)

    def _taken(
        self, users: NDArray[np.int64], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> Sequences:
        """Events ``starts[r]`` to ``stops[r]`` of user ``users[r]`` in row r, INT64 [R]."""
        lengths = stops - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        events = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Sequences(
            [self.user_ids[user] for user in users],
            offsets,
            self.items[events],
            None if self.times is None else self.times[events],
            None if self.actions is None else self.actions[events],
            None if self.profiles is None else self.profiles[users],
            None if self.target is None else self.target[events],
            None if self.request_times is None else self.request_times[users],
        )
