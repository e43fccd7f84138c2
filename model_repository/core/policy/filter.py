"""Leaves out the items for which an expression does not hold."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from ..contract import FILTER
from ..identifiers import Identifiers
from ..item_sets import ItemSet
from ..options import Options
from .base import Context, Stage
from .filters import Filters


class Filter(Stage):
    """Option ``filter``. It acts before the search, so that as many items are found as exist."""

    name = "filter"
    masks_only = True

    def __init__(self) -> None:
        self._filters = WeakKeyDictionary[Identifiers, Filters]()

    def applies(self, options: Options) -> bool:
        return bool(options[FILTER.name])

    def allowed(self, context: Context) -> ItemSet:
        filters = self._filters.setdefault(context.facts.ids, Filters())
        return filters.allowed(context.options[FILTER.name], context.facts)
