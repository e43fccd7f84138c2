"""Filters: expressions that say which items may be recommended."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..contract import FILTER
from ..errors import InvalidRequest
from ..item_sets import ItemSet
from ..least_recently_used import LeastRecentlyUsed
from .expressions import parse, this_day
from .facts import Facts
from .statements import statements

_MOST_BYTES: Final = 64 * 2**20
"""Of what is remembered: 12 filters of a million items, 7,000 of a thousand."""


class Filters:
    """Which items filters let through, as long as nothing changes that they ask for."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._found = LeastRecentlyUsed[tuple[str, int, int], ItemSet](most_bytes)

    def allowed(self, text: str, facts: Facts) -> ItemSet:
        """The items for which every statement of a filter holds.

        Raises
        ------
        InvalidRequest
            The filter is no expression that is true or false, or asks for what is not there.
        """
        expressions = [parse(each) for each in statements(FILTER, text)]
        today = this_day() if any(each.uses_today for each in expressions) else 0
        key = text, facts.generation, today
        found = self._found.get(key)
        if found is None:
            member = np.ones(len(facts.ids), np.bool_)
            for expression in expressions:
                kind = expression.check(facts.attributes, facts.lists)
                if kind != "boolean":
                    raise InvalidRequest(
                        f"a filter is true or false, and {expression.text!r:.80} is a {kind}; "
                        "compare it, as in `year >= 1990`"
                    )
                member &= expression.evaluate(facts.attributes, facts.lists, facts.ids, today=today)
            found = ItemSet(member)
            self._found.put(key, found, found.most_bytes + len(text))
        return found
