"""Says which rule moved or removed an item: output TRACE of a request that asks for it."""

from __future__ import annotations

import json

import numpy as np

from ..batch import Tensors
from ..catalogue import Catalogue
from ..contract import TRACE


class Trace:
    """Collects notes, by item."""

    def __init__(self) -> None:
        self._items: dict[int, list[str]] = {}
        self._removed: dict[int, str] = {}
        self._unmet: list[str] = []

    def note(self, item: int, what: str) -> None:
        """Add what was done to an item, such as "pin: rank 2"."""
        self._items.setdefault(int(item), []).append(what)

    def remove(self, item: int, rule: str) -> None:
        """Say which rule took an item out of the list; the first rule counts."""
        self._removed.setdefault(int(item), rule)

    def unmet(self, rule: str) -> None:
        """Say that a list has fewer items than a rule asks for."""
        self._unmet.append(rule)

    def of(self, item: int) -> list[str]:
        """What was noted of an item."""
        return self._items.get(int(item), [])

    def clear(self) -> None:
        """Forget all, of a list that is made anew."""
        self._items.clear()
        self._removed.clear()
        self._unmet.clear()

    def output(self, catalogue: Catalogue, chosen: list[int]) -> Tensors:
        """TRACE, a JSON object: ``items`` and ``removed`` by id, and ``unmet``, rules."""

        def name(item: int) -> str:
            return catalogue.ids.strings[item].decode()

        kept = set(chosen)
        content = {
            "items": {name(item): self._items[item] for item in chosen if item in self._items},
            "removed": {
                name(item): rule for item, rule in self._removed.items() if item not in kept
            },
            "unmet": self._unmet,
        }
        text = json.dumps(content, ensure_ascii=False).encode()
        return {TRACE.name: np.array([[text]], object)}
