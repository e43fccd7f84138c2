"""The arguments of the client's calls: items, and the events of a user's history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Profile = Mapping[str, str | int | float]
"""What is known of a user beside the history: columns of the training's user file, and values.

A value that training did not meet counts as not known, like a column that is left out.
"""


@dataclass(frozen=True, slots=True)
class Item:
    """An item that the catalogue may not know.

    Attributes
    ----------
    id
        Names the item in the result; not empty. A plain ``str`` stands for ``Item(id)``.
    text
        What the item is, in words. Read only where the catalogue does not know ``id``.
    """

    id: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a user did: of a history, or as it happens.

    Attributes
    ----------
    item
        What it was done to.
    action
        What was done, in the words of the training log, such as ``"buy"``.
    time
        Unix seconds, or a ``datetime`` that knows its time zone. Either every event of a history
        has a time or none has. One that happens and has none happens when the server is told.
    id
        Of one that happens: sent again under the same id, it is counted once. Made up if None.
    """

    item: str | Item
    action: str | None = None
    time: int | datetime | None = None
    id: str | None = None
