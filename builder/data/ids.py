"""Ids that are the same but for how they are written: 1 and 1.0, 7 and 007, spaces around one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

_POINT_ZERO: Final = re.compile(r"^(\d+)\.0+$")
_LEADING_ZEROS: Final = re.compile(r"^0+(?=\d)")
_FORMS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("spaces around it", str.strip),
    ("a '.0' at its end", lambda text: _POINT_ZERO.sub(r"\1", text)),
    ("leading zeros", lambda text: _LEADING_ZEROS.sub("", text)),
    ("upper and lower case", str.casefold),
)


class LikeIds:
    """Finds the known id that another one means.

    Where several known ids differ in nothing else, none of them is found.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known: dict[str, str | None] = {}
        for each in known:
            plain = _plain(each)
            self._known[plain] = None if plain in self._known else each

    def like(self, other: str) -> str | None:
        return self._known.get(_plain(other))


def difference(one: str, other: str) -> str:
    """What two ids that are alike differ in."""
    found = []
    for name, form in _FORMS:
        pair = form(one), form(other)
        one_changes = (pair[0] == one) != (pair[1] == other)
        if one != other and (one_changes or pair[0] == pair[1]):
            found.append(name)
        one, other = pair
    return " and ".join(found)


def _plain(text: str) -> str:
    for _, form in _FORMS:
        text = form(text)
    return text
