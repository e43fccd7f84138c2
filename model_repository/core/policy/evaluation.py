"""Evaluates expressions against facts."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..arrays import Indices
from ..item_sets import ItemSet
from .expressions import Expression
from .facts import Facts


def items_where(expression: Expression, facts: Facts) -> ItemSet:
    """The items for which an expression that is true or false holds."""
    return ItemSet(expression.evaluate(facts.attributes, facts.lists, facts.ids))


def values_at(expression: Expression, facts: Facts, items: Indices) -> NDArray[Any]:
    """Its values for items INT32 [m]: BOOL, or FP64 with NaN where one is absent."""
    return expression.at(items, facts.attributes, facts.lists, facts.ids)
