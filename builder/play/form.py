"""What a form of the page says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from builder.play import history
from builder.play.history import FormError, History, read_text

LATENCIES: Final = 50
"""Calls whose times the page shows."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of the form, read.

    Attributes
    ----------
    q, user, new
        What was searched for, the user asked for, and the new item typed in.
    do
        The button that was pressed, as ``what:which``; "" where a field changed.
    loaded, target
        The user whose history was loaded last, and the item that came next.
    before
        Ids of the list shown last, one sequence for each server.
    latencies
        Milliseconds of the last calls, likewise.
    fields
        All fields, for the options.
    """

    q: str
    user: str
    new: str
    do: str
    loaded: str
    target: str
    history: History
    before: Sequence[Sequence[str]]
    latencies: Sequence[Sequence[float]]
    fields: Mapping[str, str]

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Form:
        """Read the fields of a form, or of an address: all are optional.

        Raises
        ------
        FormError
            A hidden field is not what this page wrote, or a time cannot be read.
        """
        words = {
            name: fields.get(name, "").strip()
            for name in ("q", "user", "new", "do", "loaded", "target")
        }
        return cls(
            **words,
            history=history.read(fields.get("history", ""), fields),
            before=_lists(fields.get("before", ""), read_text),
            latencies=_lists(fields.get("latencies", ""), _number),
            fields=fields,
        )


def of_server(lists: Sequence[Sequence[_Value]], place: int) -> Sequence[_Value]:
    """What one server's list was; nothing where it was not asked before."""
    return lists[place] if place < len(lists) else ()


def _lists(text: str, read: Callable[[Any], _Value]) -> list[list[_Value]]:
    try:
        return [[read(value) for value in each] for each in json.loads(text or "[]")]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FormError("the last list of this page cannot be read; reload the page") from error


def _number(value: Any) -> float:
    if not math.isfinite(number := float(value)) or number < 0:
        raise ValueError(f"no time: {value!r}")
    return number
