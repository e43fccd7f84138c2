"""Events that a log has several times, and what they do to a test; a part of the log at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.unsorted import UnsortedEvents

_EVENTS_AT_ONCE: Final = 1 << 23


def repeats(events: UnsortedEvents) -> int:
    """How many events equal an earlier one in user, item, time and action; 0 without times.

    Equal hashes of 64 bits count as equal.
    """
    if events.ticks is None:
        return 0
    parts = len(events) // _EVENTS_AT_ONCE + 1
    found = 0
    for part in range(parts):
        chosen = np.flatnonzero(events.user % parts == part)
        keys = np.zeros(len(chosen), np.uint64)
        for values in (events.user, events.item, events.ticks, events.action):
            if values is not None:
                keys = _mixed(keys ^ values[chosen].astype(np.uint64))
        found += len(keys) - len(np.unique(keys))
    return found


def _mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64, which gives different keys different numbers."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def last_targets_seen_before(events: UnsortedEvents) -> NDArray[np.bool_]:
    """Whether each user's last target is an item that the user had before, BOOL [U].

    Events at the same time are in the order of the log.
    """
    users, ticks = len(events.user_ids), events.ticks
    last_tick = np.full(users, np.iinfo(np.int64).min)
    last = np.full(users, -1)
    blocks = [
        slice(start, start + _EVENTS_AT_ONCE) for start in range(0, len(events), _EVENTS_AT_ONCE)
    ]
    if ticks is not None:
        for block in blocks:
            target = ... if events.target is None else events.target[block]
            np.maximum.at(last_tick, events.user[block][target], ticks[block][target])
    for block in blocks:
        user = events.user[block]
        wanted = np.ones(len(user), np.bool_) if events.target is None else events.target[block]
        if ticks is not None:
            wanted = wanted & (ticks[block] == last_tick[user])
        places = block.start + np.flatnonzero(wanted)
        np.maximum.at(last, user[wanted], places)
    item = events.item[last]
    seen = np.zeros(users, np.bool_)
    for block in blocks:
        user = events.user[block]
        before = block.start + np.arange(len(user)) < last[user]
        if ticks is not None:
            same = ticks[block] == last_tick[user]
            before = (ticks[block] < last_tick[user]) | (same & before)
        seen[user[before & (events.item[block] == item[user])]] = True
    return seen & (last >= 0)
