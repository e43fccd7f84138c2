"""Objects that stand where an id is expected: ``{"id": "10", "name": "Doom"}``, or a list of them.

They come as text: JSON beside JSON with spaces between, as `builder.data.json_files` writes a list,
or a list as JSON or Python writes it.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from builder.data.rows import is_missing

_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)
_LOOKED_AT: Final = 200
"""Values that tell what the objects of a column hold."""
_USUALLY: Final = 0.5
"""Share of the objects that have an id, at least."""


@dataclass(frozen=True)
class ObjectColumn:
    """A column whose values are objects, or lists of them.

    Attributes
    ----------
    keys
        Of the values that most objects have, and which are no objects or lists.
    others
        Such keys of any object.
    many
        Whether a value has several objects.
    """

    keys: tuple[str, ...]
    others: tuple[str, ...]
    many: bool

    @classmethod
    def of(cls, values: Sequence[str]) -> ObjectColumn | None:
        """What the first values of a column tell; None where one is no object."""
        present = [value for value in values if not is_missing(value) and value != "[]"]
        objects: list[dict[str, Any]] = []
        many = False
        for value in present[:_LOOKED_AT]:
            found = objects_in(value)
            if found is None:
                return None
            objects += found
            many |= len(found) > 1
        if not objects:
            return None
        counts = Counter(
            key for each in objects for key in each if not isinstance(each[key], dict | list)
        )
        filled = Counter(key for each in objects for key in counts if is_filled(each.get(key)))
        usual = tuple(key for key in counts if filled[key] >= _USUALLY * len(objects))
        return cls(usual, tuple(counts), many)


def objects_in(text: str) -> list[dict[str, Any]] | None:
    """The objects of a text, with their numbers as text; None where it has anything else."""
    text = text.strip()
    if text[:1] + text[-1:] not in ("{}", "[]") or "{" not in text:
        return None
    found: list[Any] = []
    place = 0
    try:
        while place < len(text):
            value, place = _DECODER.raw_decode(text, place)
            found += value if isinstance(value, list) else [value]
            place += len(text[place:]) - len(text[place:].lstrip())
    except (ValueError, RecursionError):
        found = _literal(text)
    return found if found and all(isinstance(each, dict) for each in found) else None


def is_filled(value: Any) -> bool:
    """Whether this may be an id: a text or a number."""
    return isinstance(value, str | int | float) and not is_missing(str(value))


def _literal(text: str) -> list[Any]:
    """A list, or one object, as Python writes it."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return value if isinstance(value, list) else [value]
