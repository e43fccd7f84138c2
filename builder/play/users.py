"""The validation users of a run, whose histories the page can begin with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from builder.data.splits import Holdout
from builder.play.history import Entry, History
from builder.play.items import ItemTexts

SUGGESTED: Final = 200
"""Users whose ids the page suggests."""


@dataclass(frozen=True, slots=True)
class User:
    """What a user did, and the item that came next, which was held out."""

    id: str
    history: History
    target: str


class Users:
    """Users of a holdout; ``actions`` are the names that its numbers stand for, from 1."""

    def __init__(self, holdout: Holdout, items: ItemTexts, actions: Sequence[str]) -> None:
        self._holdout = holdout
        self._items = items
        self._actions = actions
        self._places = {user: place for place, user in enumerate(holdout.histories.user_ids)}

    @property
    def suggestions(self) -> list[str]:
        return list(self._places)[:SUGGESTED]

    def any_id(self) -> str:
        """The id of a user drawn by chance; "" where there is none."""
        return random.choice(list(self._places)) if self._places else ""

    def find(self, user: str) -> User | None:
        place = self._places.get(user)
        if place is None:
            return None
        histories = self._holdout.histories
        times, actions = histories.times_of(place), histories.actions_of(place)
        history = tuple(
            Entry(
                self._items.id_at(item),
                action=None if actions is None else self._action(int(actions[number])),
                time=None if times is None else int(times[number]),
            )
            for number, item in enumerate(histories.items_of(place).tolist())
        )
        return User(user, history, self._items.id_at(int(self._holdout.targets[place])))

    def _action(self, number: int) -> str | None:
        return self._actions[number - 1] if number else None
