"""The history on the page: its events, what the buttons do to them, and how they travel.

The server of the page keeps nothing. The whole history travels with each form, as JSON in a hidden
field; the fields of the events that are shown stand above what it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Final

from client import Event, Item
from model_repository.core.attribute_values import seconds_of

SHOWN: Final = 50
"""Events that the page shows, the latest; the others only travel."""
_MINUTE: Final = 60
_INT64: Final = 2**63


class FormError(ValueError):
    """A form that this page did not make, or a field that cannot be read; says what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: ``text`` is that of an item that the catalogue lacks, ``time`` in Unix seconds."""

    item: str
    text: str | None = None
    action: str | None = None
    time: int | None = None

    def event(self) -> Event:
        return Event(Item(self.item, self.text), self.action, self.time)

    @property
    def moment(self) -> str:
        """The time in UTC as the page shows it; "" where there is none, or no calendar has it."""
        if self.time is None:
            return ""
        try:
            when = datetime.fromtimestamp(self.time, timezone.utc)
        except (ValueError, OverflowError, OSError):
            return ""
        return when.strftime("%Y-%m-%d %H:%M:%S")


History = tuple[Entry, ...]
"""Oldest first."""


def to_json(history: Iterable[Entry]) -> str:
    return json.dumps(
        [[each.item, each.text, each.action, each.time] for each in history], ensure_ascii=False
    )


def read(text: str, fields: Mapping[str, str]) -> History:
    """A history from its JSON, with what ``action-N`` and ``time-N`` of ``fields`` say of event N.

    Raises
    ------
    FormError
        It is not what `to_json` writes, or a field is no time.
    """
    try:
        rows = json.loads(text or "[]")
        history = [_entry(row) for row in rows]
    except (ValueError, TypeError, RecursionError) as error:
        raise FormError("the history of this page cannot be read; reload the page") from error
    return tuple(_with_fields(entry, number, fields) for number, entry in enumerate(history))


def read_text(value: Any) -> str:
    """A text of a hidden field.

    Raises
    ------
    TypeError, ValueError
        It is none, or has half of a character: JSON can name one, and no page can hold it.
    """
    if not isinstance(value, str):
        raise TypeError(f"no text: {value!r}")
    value.encode()
    return value


def added(history: History, entry: Entry) -> History:
    """With one event more, a minute after the last one where events have times."""
    last = history[-1].time if history else None
    return (*history, replace(entry, time=None if last is None else last + _MINUTE))


def removed(history: History, number: int) -> History:
    return (*history[:number], *history[number + 1 :])


def moved(history: History, number: int, by: int) -> History:
    """With event ``number`` one place later or earlier. The times stay in their places."""
    other = number + by
    if not (0 <= number < len(history) and 0 <= other < len(history)):
        return history
    swapped = list(history)
    first, second = history[number], history[other]
    swapped[number] = replace(second, time=first.time)
    swapped[other] = replace(first, time=second.time)
    return tuple(swapped)


def _entry(row: Any) -> Entry:
    item, text, action, time = row
    read_text(item)
    for each in (text, action):
        if each is not None:
            read_text(each)
    # The client refuses a larger time, and one of thousands of digits could not travel on.
    if time is not None and not (type(time) is int and -_INT64 <= time < _INT64):
        raise TypeError(f"no event: {row!r}")
    return Entry(item, text, action, time)


def _with_fields(entry: Entry, number: int, fields: Mapping[str, str]) -> Entry:
    action, time = fields.get(f"action-{number}"), fields.get(f"time-{number}")
    if action is not None:
        entry = replace(entry, action=action or None)
    if time is not None and time != entry.moment:
        entry = replace(entry, time=_seconds(time))
    return entry


def _seconds(moment: str) -> int | None:
    if not moment.strip():
        return None
    try:
        return seconds_of(moment.strip())
    except ValueError as error:
        raise FormError(f"the time {moment!r} cannot be read; write 1998-04-23 20:15:00") from error
