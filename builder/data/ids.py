"""Ids that are the same but for how they are written: 1 and 1.0, 7 and 007, spaces around one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import pandas as pd

from builder.errors import DataError

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


def rows_of_users(
    profile: pd.DataFrame, user_ids: Sequence[str], file: str, *, loose: bool
) -> pd.DataFrame:
    """A row for each user of the log, of those by user id; of blanks where there is none.

    ``file`` names the file and the column for a message.

    Raises
    ------
    DataError
        No user of the log is in the file, or some are if only written alike, which ``loose`` does.
    """
    absent = [user for user in user_ids if user not in profile.index]
    known = LikeIds(profile.index) if absent else None
    near = {user: like for user in absent if known and (like := known.like(user)) is not None}
    if near and not loose:
        user, like = next(iter(near.items()))
        raise DataError(
            f"{file}: user {user!r} of the log is {like!r} here, which differs by "
            f"{difference(user, like)} ({len(near):,} users do so); write them alike, or give "
            "--match-ids loose"
        )
    if user_ids and len(absent) == len(user_ids) and not near:
        raise DataError(
            f"{file}: none of the {len(user_ids):,} users of the log is here, such as "
            f"{user_ids[0]!r}; correct the ids, name their column by --column user=NAME, or leave "
            "--profile out"
        )
    rows = [near.get(user, user) for user in user_ids]
    return profile.reindex(rows, fill_value="").reset_index(drop=True)


def _plain(text: str) -> str:
    for _, form in _FORMS:
        text = form(text)
    return text
