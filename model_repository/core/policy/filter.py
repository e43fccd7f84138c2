"""Leaves out the items for which an expression does not hold."""

from __future__ import annotations

from ..contract import FILTER
from ..errors import InvalidRequest
from ..item_sets import ItemSet
from ..options import Options
from .base import Context, Stage
from .evaluation import items_where
from .expressions import parse


class Filter(Stage):
    """Option ``filter``. It acts before the search, so that as many items are found as exist."""

    name = "filter"

    def applies(self, options: Options) -> bool:
        return bool(options[FILTER.name])

    def check(self, context: Context) -> None:
        facts = context.facts
        kind = parse(context.options[FILTER.name]).check(facts.attributes, facts.lists)
        if kind != "boolean":
            raise InvalidRequest(
                f"parameter {FILTER.name} is a {kind}; it must be true or false, "
                "such as 'year >= 1990'"
            )

    def allowed(self, context: Context) -> ItemSet:
        return items_where(parse(context.options[FILTER.name]), context.facts)
