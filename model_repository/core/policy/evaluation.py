"""Evaluates expressions against facts."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..arrays import Indices
from .expressions import Expression
from .facts import Facts


def values_at(expression: Expression, facts: Facts, items: Indices) -> NDArray[Any]:
    """The values of an expression for items INT32 [m]: BOOL, or FP64 with NaN for an absent one."""
    return expression.at(items, facts.attributes, facts.lists, facts.ids)
