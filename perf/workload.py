"""The workload: real users and real texts, out of a checkpoint.

No text of ``endless_texts`` comes twice, so that no cache can help.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from builder.model.checkpoint import load_validation, read_config
from client import Event
from perf.errors import PerfError

EVENTS: Final = 20
"""Events of a history."""

CANDIDATES: Final = 100


@dataclass(frozen=True)
class User:
    """Item ids, oldest first, and this user's next item.

    ``actions`` are the names of what was done at each event; None where the log has none.
    """

    history: list[str]
    target: str
    actions: list[str | None] | None = None

    @property
    def events(self) -> list[Event]:
        """The history as a service sends it whose model learnt from actions."""
        actions = self.actions or [None] * len(self.history)
        return [
            Event(item, action=action) for item, action in zip(self.history, actions, strict=True)
        ]


@dataclass(frozen=True)
class Workload:
    """Users with `EVENTS` known events each, and the catalogue (ids and texts, in one order)."""

    users: list[User]
    item_ids: list[str]
    texts: list[str]
    seed: int

    def candidates(self, user: int) -> list[str]:
        """Return the target and uniformly drawn other items, shuffled: `CANDIDATES` ids at most."""
        draw = random.Random(f"{self.seed} {user}")
        target = self.users[user].target
        seen = {target, *self.users[user].history}
        others = [item for item in self.item_ids if item not in seen]
        chosen = [target, *draw.sample(others, min(CANDIDATES - 1, len(others)))]
        draw.shuffle(chosen)
        return chosen

    def text_of(self, item: str) -> str:
        return self.texts[self.item_ids.index(item)]

    def history_texts(self, user: User) -> list[str]:
        return [self.text_of(item) for item in user.history]

    def endless_texts(self) -> Iterator[str]:
        """Yield texts that the catalogue does not hold, all different, always in the same order.

        Each is the first half of one item's words and the second half of another's: real words, as
        many of them on average as the items have. Ends when all pairs of items were used.
        """
        seen = set(self.texts)
        words = [text.split() for text in self.texts]
        order = list(range(len(words)))
        draw = random.Random(self.seed)
        draw.shuffle(order)
        shifts = list(range(1, len(order)))
        draw.shuffle(shifts)
        for shift in shifts:
            for place, first in enumerate(order):
                second = words[order[(place + shift) % len(order)]]
                start = words[first][: len(words[first]) // 2]
                text = " ".join(start + second[len(second) // 2 :])
                if text not in seen:
                    seen.add(text)
                    yield text


def read_workload(checkpoint: Path, seed: int, *, users: int = 1000) -> Workload:
    """Take the validation users of a checkpoint, in a random order.

    Users with fewer than `EVENTS` events are left out; of the others, the last ones are taken.

    Raises
    ------
    PerfError
        No user has that many events.
    CheckpointError
        It is no checkpoint.
    """
    holdout = load_validation(checkpoint)
    catalogue = pd.read_parquet(checkpoint / "catalogue.parquet", columns=["item_id", "text"])
    ids = catalogue["item_id"].tolist()
    names = [None, *read_config(checkpoint)["actions"]]  # 0 is "not known"
    order = np.random.default_rng(seed).permutation(len(holdout))

    def actions(user: int) -> list[str | None] | None:
        known = holdout.histories.actions_of(user)
        return None if known is None else [names[action] for action in known[-EVENTS:]]

    found = [
        User([ids[item] for item in items[-EVENTS:]], ids[holdout.targets[user]], actions(user))
        for user in order
        if len(items := holdout.histories.items_of(user)) >= EVENTS
    ]
    if not found:
        raise PerfError(f"{checkpoint}: no validation user has {EVENTS} events; train on more data")
    return Workload(found[:users], ids, catalogue["text"].tolist(), seed)
