"""The terms of a logit: the network's, and others added to it.

A new kind of term is a class here and a line in `scoring`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Indices
from .items import NewItems
from .trend import TrendRow
from .users import History

_ENTRIES: Final = 2**22
"""Entries of the linear term that are added at once."""

_SMALL_CATALOGUE: Final = 20_000
"""Items up to which all of a row is emptied sooner than its entries: 3 us, and 7, at as many."""


@dataclass(frozen=True, slots=True)
class Users:
    """U users: their states FP32 [U, d], their histories, and the trend when they ask.

    ``trend`` has one row of each user, or one of all, or none where the model has no trend.
    """

    states: Floats
    histories: Sequence[History]
    trend: Sequence[TrendRow] = ()

    def __len__(self) -> int:
        return len(self.histories)

    def __getitem__(self, kept: Sequence[int]) -> Users:
        own = [self.trend[place] for place in kept] if len(self.trend) > 1 else self.trend
        return Users(self.states[kept], [self.histories[place] for place in kept], own)

    def trend_of(self, user: int) -> TrendRow:
        """The trend when a user asks."""
        return self.trend[user if len(self.trend) > 1 else 0]


class Term(Protocol):
    """A part of the logit that stands beside the network's."""

    name: str

    def add_to(self, logits: Floats, users: Users) -> None:
        """Add to the logits FP32 [U, n] of the whole catalogue, in place."""
        ...

    def of(self, users: Users, user: int, items: Indices) -> Floats:
        """FP32 [m], for one user and items INT32 [m] of the catalogue."""
        ...

    def of_each(self, users: Users, items: Indices) -> Floats:
        """FP32 [U, m], for all users and items INT32 [m] of the catalogue, which all differ."""
        ...

    def of_new(self, users: Users, user: int, fresh: NewItems) -> Floats:
        """FP32 [R], for one user and new items."""
        ...

    def lifts(self, users: Users, user: int) -> tuple[Indices, float]:
        """The items INT32 [m] that the term may lift, and the most that it lifts any other by."""
        ...


class NetworkTerm:
    """``state · v_i + b_i``, of vectors FP32 [n, d] and biases FP32 [n].

    This is what a candidate source searches by. The methods are those of `Term`.
    """

    name = "network"

    def __init__(self, vectors: Floats, bias: Floats) -> None:
        self._vectors = vectors
        self._bias = bias

    def all(self, users: Users) -> Floats:
        """FP32 [U, n], of the whole catalogue."""
        logits: Floats = users.states @ self._vectors.T
        logits += self._bias
        return logits

    def of(self, users: Users, user: int, items: Indices) -> Floats:
        found: Floats = self._vectors[items] @ users.states[user]
        found += self._bias[items]
        return found

    def of_each(self, users: Users, items: Indices) -> Floats:
        found: Floats = users.states @ self._vectors[items].T
        found += self._bias[items]
        return found

    def of_new(self, users: Users, user: int, fresh: NewItems) -> Floats:
        found: Floats = fresh.vectors @ users.states[user]
        found += fresh.bias
        return found


class LinearTerm:
    """``Σ_j decay[age(j)] · B[j, i]`` over the events of the history: what co-occurrence says.

    Row j of B has its entries at ``index`` INT32 [n, K] with ``value`` FP32 [n, K]; the age of an
    event counts events back from the latest, 0. ``decay`` is FP32 [A].
    """

    name = "linear"

    def __init__(self, index: Indices, value: Floats, decay: Floats) -> None:
        self._index = index
        self._value = value
        self._decay = decay
        self._scratch = threading.local()

    def add_to(self, logits: Floats, users: Users) -> None:
        longest = max((len(history.slots) for history in users.histories), default=0)
        step = max(1, _ENTRIES // max(1, longest * self._index.shape[1]))
        for start in range(0, len(users), step):
            part = slice(start, start + step)
            self._add_to(logits[part], users.histories[part])

    def _add_to(self, logits: Floats, histories: Sequence[History]) -> None:
        # One call for all users of each that follows: 24 us a user, and 39 in a loop.
        rows, user, decay = self._events(histories)
        place = user[:, np.newaxis] * logits.shape[1] + self._index[rows]
        value = self._value[rows] * decay[:, np.newaxis]
        np.add.at(logits.reshape(-1), place.ravel(), value.ravel())

    def _events(self, histories: Sequence[History]) -> tuple[Indices, NDArray[np.int64], Floats]:
        """The events of known items: these INT32 [S], their users INT64 [S], and their weights."""
        lengths = [len(history.slots) for history in histories]
        slots = np.concatenate([history.slots for history in histories])
        user = np.repeat(np.arange(len(histories)), lengths)
        age = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(slots))
        known = slots >= 0
        return slots[known], user[known], self._decay[age[known]]

    def of_each(self, users: Users, items: Indices) -> Floats:
        rows, user, decay = self._events(users.histories)
        # As in `of`; here it says where each item is among those that are asked for, from 1 on.
        row = self._row()
        row[items] = np.arange(1, len(items) + 1)
        column = row[self._index[rows]].astype(np.int32)
        row[items] = 0
        event, entry = np.nonzero(column)
        found = np.zeros((len(users), len(items)), np.float32)
        value = self._value[rows[event], entry] * decay[event]
        np.add.at(found, (user[event], column[event, entry] - 1), value)
        return found

    def of(self, users: Users, user: int, items: Indices) -> Floats:
        place, value = self._spoken_for(users.histories[user])
        # A row of the catalogue that is kept, and emptied again: to make one would take longer
        # than all that is done with it where the catalogue is large.
        row = self._row()
        np.add.at(row, place, value)
        found: Floats = row[items]
        if len(row) <= _SMALL_CATALOGUE:
            row.fill(0)
        else:
            row[place] = 0
        return found

    def of_new(self, users: Users, user: int, fresh: NewItems) -> Floats:
        by_neighbours = self.of(users, user, fresh.items.ravel()).reshape(fresh.items.shape)
        mean: Floats = (by_neighbours * fresh.weights).sum(axis=1)
        return mean

    def lifts(self, users: Users, user: int) -> tuple[Indices, float]:
        return self._spoken_for(users.histories[user])[0], 0.0

    def _spoken_for(self, history: History) -> tuple[Indices, Floats]:
        """What the events of a history speak for, and by how much: INT32 [m] and FP32 [m].

        An item that several events speak for is there several times.
        """
        known = history.slots >= 0
        rows = history.slots[known]
        weight = self._decay[: len(history.slots)][::-1][known]
        value = self._value[rows] * weight[:, np.newaxis]
        return self._index[rows].ravel(), value.ravel()

    def _row(self) -> Floats:
        row: Floats | None = getattr(self._scratch, "row", None)
        if row is None:
            row = self._scratch.row = np.zeros(len(self._index), np.float32)
        return row


class TrendTerm:
    """What is popular when the user asks, see `trend`; 0 for a new item, which has no events."""

    name = "trend"

    def add_to(self, logits: Floats, users: Users) -> None:
        for row, logit in enumerate(logits) if len(users.trend) > 1 else ((0, logits),):
            logit += users.trend[row].logits

    def of(self, users: Users, user: int, items: Indices) -> Floats:
        found: Floats = users.trend_of(user).logits[items]
        return found

    def of_each(self, users: Users, items: Indices) -> Floats:
        return np.stack([self.of(users, user, items) for user in range(len(users))])

    def of_new(self, users: Users, user: int, fresh: NewItems) -> Floats:  # noqa: ARG002
        return np.zeros(len(fresh.items), np.float32)

    def lifts(self, users: Users, user: int) -> tuple[Indices, float]:
        return users.trend_of(user).lifted
