"""Expressions over the attributes of items, such as ``"Comedy" in genres and year >= 1990``."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..arrays import Indices
from ..attributes import Attributes, Kind
from ..identifiers import Identifiers
from .facts import Lists


class Expression:
    """What `parse` made of a text; it is the same for every catalogue."""

    text: str

    @property
    def uses_today(self) -> bool:
        """Whether its values are other ones on another day."""
        raise NotImplementedError

    def check(self, attributes: Attributes, lists: Lists) -> Kind:
        """What its values are; `InvalidRequest` where names or kinds do not fit."""
        raise NotImplementedError

    def evaluate(
        self, attributes: Attributes, lists: Lists, ids: Identifiers, *, today: int | None = None
    ) -> NDArray[Any]:
        """Its values for all n items: BOOL [n], or FP64 [n] with NaN where one is absent."""
        raise NotImplementedError

    def at(
        self,
        items: Indices,
        attributes: Attributes,
        lists: Lists,
        ids: Identifiers,
        *,
        today: int | None = None,
    ) -> NDArray[Any]:
        """The same for items INT32 [m], in a time that does not depend on n."""
        raise NotImplementedError


def parse(text: str) -> Expression:
    """Read an expression; `InvalidRequest` says at which column it is wrong."""
    raise NotImplementedError
