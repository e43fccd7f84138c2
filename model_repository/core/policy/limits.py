"""Reads how many items of a kind a list has, and which ranks are taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..arrays import Indices
from ..contract import LIMITS, PINS, TOP_K
from ..errors import InvalidRequest
from ..identifiers import Identifiers
from ..options import Options
from .evaluation import values_at
from .expressions import Expression, parse
from .facts import Facts
from .groups import Members, crowded
from .statements import statements, unquoted

_LIMIT: Final = re.compile(r"at\s+(most|least)\s+(\d{1,6})\s+(per|where)\s+(.+)", re.DOTALL)
# The longest id comes first: the shortest would try each of many blanks as its end, for a second.
_PIN: Final = re.compile(r"(.*\S)\s+at\s+(\d{1,6})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limit:
    """``at most 2 per artist`` and its like.

    Attributes
    ----------
    about
        An attribute's name after ``per``, an expression after ``where``.
    """

    text: str
    at_least: bool
    number: int
    per_value: bool
    about: str

    @property
    def condition(self) -> Expression:
        return parse(self.about)

    def is_stricter_than(self, other: Limit) -> bool:
        """Whether it implies another limit of its kind."""
        return self.number > other.number if self.at_least else self.number < other.number


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which of m candidates are in a group, and how many of each may or must be chosen.

    Attributes
    ----------
    at_most, most
        The members of g groups and INT64 [g]. Of a group that cannot have too many there is none.
    most_rules
        Of each group, the rule that made it.
    at_least, least
        BOOL [q, m] and INT64 [q].
    least_rules
        Likewise.
    """

    at_most: Members
    most: NDArray[np.int64]
    most_rules: Sequence[str]
    at_least: NDArray[np.bool_]
    least: NDArray[np.int64]
    least_rules: Sequence[str]


@lru_cache(maxsize=256)
def read_limits(text: str) -> tuple[Limit, ...]:
    """The limits of an option.

    Raises
    ------
    InvalidRequest
        One cannot be read, or two contradict each other.

    Notes
    -----
    Of two of a kind, such as one of the policy and one of the request, the stricter one holds.
    """
    found: dict[tuple[str, str, str], Limit] = {}
    for statement in statements(LIMITS, text):
        match = _LIMIT.fullmatch(statement)
        if match is None or (match[1] == "least" and match[3] == "per"):
            raise InvalidRequest(
                f"parameter {LIMITS.name}: {statement!r:.200} is no limit; write "
                "'at most 2 per artist', 'at most 1 where adult' or 'at least 3 where year >= 1998'"
            )
        about = match[4].strip("`") if match[3] == "per" else match[4]
        limit = Limit(statement, match[1] == "least", int(match[2]), match[3] == "per", about)
        key = (match[1], match[3], about)
        if key not in found or limit.is_stricter_than(found[key]):
            found[key] = limit
    for (bound, by, about), limit in found.items():
        most = found.get(("most", by, about))
        if bound == "least" and most is not None and most.number < limit.number:
            raise _contradiction(most.text, limit.text, "leave one of them out")
    return tuple(found.values())


def check_limits(limits: Sequence[Limit], facts: Facts, top_k: int) -> None:
    """Raise `InvalidRequest` for what no list of ``top_k`` items can be held to."""
    for limit in limits:
        if limit.at_least and limit.number > top_k:
            raise _contradiction(limit.text, f"{TOP_K.name} {top_k}", "ask for more items")
        if limit.per_value:
            facts.attributes.column(limit.about)
        elif (kind := limit.condition.check(facts.attributes, facts.lists)) != "boolean":
            raise InvalidRequest(
                f"parameter {LIMITS.name}: {limit.about!r:.200} is a {kind}; it must be true or "
                "false, such as 'year >= 1998'"
            )


def pins_of(options: Options, ids: Identifiers, *, paged: bool) -> dict[int, int]:
    """Rank from 1 → item.

    Raises
    ------
    InvalidRequest
        A pin cannot be read, or its item is unknown, or two contradict each other, or its rank
        lies behind the end of the list, unless that has several pages.
    """
    texts: dict[int, str] = {}
    found: dict[int, int] = {}
    for text in statements(PINS, options[PINS.name]):
        match = _PIN.fullmatch(text)
        rank = int(match[2]) if match else 0
        if match is None or rank < 1:
            raise InvalidRequest(
                f"""parameter {PINS.name}: {text!r:.200} is no pin; write '"i42" at 1'"""
            )
        name = unquoted(match[1])
        (item,) = ids.indices([name.encode()])
        if item is None:
            raise InvalidRequest(f"parameter {PINS.name}: the catalogue has no item {name!r:.80}")
        if rank > options[TOP_K.name] and not paged:
            raise _contradiction(text, f"{TOP_K.name} {options[TOP_K.name]}", "ask for more items")
        for other, pinned in found.items():
            if rank == other or item == pinned:
                raise _contradiction(texts[other], text, "leave one of them out")
        found[rank], texts[rank] = item, text
    return found


def check_pins(pins: Mapping[int, int], limits: Sequence[Limit], facts: Facts, top_k: int) -> None:
    """Raise `InvalidRequest` where pins are more than a limit allows, or leave a quota no ranks."""
    items = np.array(list(pins.values()), np.int32)
    groups = groups_of(limits, items, facts)
    sizes = groups.at_most.sizes().tolist()
    for size, most, rule in zip(sizes, groups.most, groups.most_rules, strict=True):
        if size > most:
            raise _contradiction(rule, f"{size} pins", "pin fewer of these")
    sizes = groups.at_least.sum(1).tolist()
    for size, least, rule in zip(sizes, groups.least, groups.least_rules, strict=True):
        if least - size > top_k - len(items):
            raise _contradiction(rule, f"{len(items)} pins", "pin fewer, or ask for more items")


def groups_of(limits: Sequence[Limit], items: Indices, facts: Facts) -> Groups:
    """The groups that limits make of candidates INT32 [m]."""
    quotas = [limit for limit in limits if limit.at_least]
    held = [values_at(limit.condition, facts, items) for limit in quotas]
    return Groups(
        *_at_most([limit for limit in limits if not limit.at_least], items, facts),
        np.array(held, np.bool_).reshape(len(held), len(items)),
        np.array([limit.number for limit in quotas], np.int64),
        [limit.text for limit in quotas],
    )


def _at_most(
    limits: Sequence[Limit], items: Indices, facts: Facts
) -> tuple[Members, NDArray[np.int64], list[str]]:
    """The groups that could have too many, how many each may have INT64 [g], and their rules."""
    places: list[NDArray[np.int64]] = []
    groups: list[NDArray[np.int64]] = []
    most: list[int] = []
    rules: list[str] = []
    for limit in limits:
        if limit.per_value:
            column = facts.attributes.column(limit.about)
            place, group, number = crowded(column, items, limit.number)
        else:
            place = np.flatnonzero(values_at(limit.condition, facts, items))
            if len(place) <= limit.number:
                continue
            group, number = np.zeros(len(place), np.int64), 1
        places.append(place)
        groups.append(group + len(most))
        most += [limit.number] * number
        rules += [limit.text] * number
    if len(places) == 1:
        place, group = places[0], groups[0]
    else:
        place = np.concatenate([*places, np.zeros(0, np.int64)])
        order = place.argsort(kind="stable")
        place, group = place[order], np.concatenate([*groups, np.zeros(0, np.int64)])[order]
    return Members.of(place, group, len(items), len(most)), np.array(most, np.int64), rules


def _contradiction(one: str, other: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(f"{one!r:.200} and {other!r:.200} contradict each other; {remedy}")
