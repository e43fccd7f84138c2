"""The items of a run as the page shows them: found by words of their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FOUND: Final = 8
"""Items that a search shows."""


@dataclass(frozen=True, slots=True)
class Found:
    id: str
    text: str


class ItemTexts:
    """Ids and texts of a catalogue, in its order."""

    def __init__(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        self._ids = ids
        self._texts = texts
        self._index = {item: place for place, item in enumerate(ids)}
        self._folded = [text.casefold() for text in texts]

    def __len__(self) -> int:
        return len(self._ids)

    def id_at(self, place: int) -> str:
        return self._ids[place]

    def of(self, item: str) -> str:
        """The text of an item; its id where the catalogue has no text for it."""
        place = self._index.get(item)
        return item if place is None else self._texts[place] or item

    def search(self, words: str) -> list[Found]:
        """At most `FOUND` items whose texts hold every word; first those that begin with them."""
        folded = words.casefold().strip()
        parts = folded.split()
        if not parts:
            return []
        places = [
            place for place, text in enumerate(self._folded) if all(part in text for part in parts)
        ]
        places.sort(key=lambda place: not self._folded[place].startswith(folded))  # stable
        return [Found(self._ids[place], self._texts[place]) for place in places[:FOUND]]
