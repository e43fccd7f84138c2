"""Histories of users, and the states that the user encoder makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from .arrays import Floats, Indices, Seconds
from .errors import (
    Overloaded,
    Unavailable,
    UserEncoderFailed,
    UserEncoderUnavailable,
    lacks_memory,
)
from .length_batches import length_batches, padded_lengths

NO_ITEM: Final = -(2**31)
"""A *slot* INT32 names an item: ``s >= 0`` is catalogue index ``s``, ``-(r + 1)`` is new item ``r``
of the batch, and this is no item at all: a candidate skipped as unknown, or padding."""

NO_AGE: Final = -1
"""The age of an event whose time is not known."""

_LONGEST_AGE: Final = 2**62

MOST_USERS: Final = 64
"""Users whose histories go through the network together, at most."""


@dataclass(frozen=True, slots=True)
class History:
    """What a user did, oldest first: slots and action ids INT32 [H], ages in seconds INT64 [H]."""

    slots: Indices
    actions: Indices
    ages: Seconds


def ages(times: Seconds) -> Seconds:
    """Seconds INT64 [H] from each event to the latest, of times that ascend, Unix seconds [H]."""
    if not len(times):
        return times
    # The difference of two INT64 need not be one, but as unsigned numbers it is exact.
    unsigned = np.ascontiguousarray(times, np.int64).view(np.uint64)
    since: Seconds = np.minimum(unsigned[-1] - unsigned, np.uint64(_LONGEST_AGE)).astype(np.int64)
    return since


class UserEncoder(Protocol):
    """The network over the events of users.

    Attributes
    ----------
    lengths
        The lengths that histories are padded to, ascending; empty: any length will do.
    call_cost
        What a call costs beside its events, in events.
    """

    @property
    def lengths(self) -> Sequence[int]: ...

    @property
    def call_cost(self) -> int: ...

    def __call__(self, batches: Sequence[EventBatch]) -> Sequence[Floats]:
        """States FP32 [U, d] of the users of each batch."""
        ...


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of U users, padded at the end to one length H.

    Item vectors FP32 [U, H, d], action ids INT32 [U, H], ages INT64 [U, H], and the number of
    events of each user INT32 [U, 1].
    """

    vectors: Floats
    actions: Indices
    ages: Seconds
    counts: Indices


def user_states(
    encode: UserEncoder, histories: Sequence[History], catalogue_vectors: Floats, fresh: Floats
) -> Floats:
    """States FP32 [U, d] after whole histories.

    ``catalogue_vectors`` FP32 [n, d] are the vectors of slots from 0 on, row r of ``fresh``
    FP32 [R, d] is that of slot ``-(r + 1)``.

    Raises
    ------
    UserEncoderFailed
        The network does.
    Overloaded
        The model that runs it has too much to do.
    """
    # An empty history is padded to one event: engines take no empty tensors.
    padded = padded_lengths([max(1, len(each.slots)) for each in histories], encode.lengths)
    groups = length_batches(padded, encode.call_cost, MOST_USERS)
    batches = [
        _batch([histories[place] for place in group], padded[group[-1]], catalogue_vectors, fresh)
        for group in groups
    ]
    states = np.empty((len(histories), catalogue_vectors.shape[1]), np.float32)
    for group, found in zip(groups, _encoded(encode, batches), strict=True):
        states[group] = found
    return states


def _encoded(encode: UserEncoder, batches: Sequence[EventBatch]) -> Sequence[Floats]:
    try:
        return encode(batches)
    except Overloaded:
        raise  # whoever asks has to wait
    except Unavailable as error:
        raise UserEncoderUnavailable(f"{error}; call again") from error
    except Exception as error:
        if lacks_memory(error):
            raise
        raise UserEncoderFailed(f"the user encoder failed: {error}") from error


def item_vectors(slots: Indices, catalogue_vectors: Floats, fresh: Floats) -> Floats:
    """FP32 [..., d] of slots INT32 [...]; those of `NO_ITEM` mean nothing."""
    vectors: Floats = catalogue_vectors[np.maximum(slots, 0)]
    if len(fresh):
        new = (slots < 0) & (slots != NO_ITEM)
        vectors[new] = fresh[-slots[new] - 1]
    return vectors


def _batch(
    histories: Sequence[History], length: int, catalogue_vectors: Floats, fresh: Floats
) -> EventBatch:
    slots = np.full((len(histories), length), NO_ITEM, np.int32)
    actions = np.zeros((len(histories), length), np.int32)
    since = np.full((len(histories), length), NO_AGE, np.int64)
    counts = np.empty((len(histories), 1), np.int32)
    for row, history in enumerate(histories):
        events = len(history.slots)
        slots[row, :events] = history.slots
        actions[row, :events] = history.actions
        since[row, :events] = history.ages
        counts[row] = events
    return EventBatch(item_vectors(slots, catalogue_vectors, fresh), actions, since, counts)
