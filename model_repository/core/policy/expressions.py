"""Expressions over the attributes of items, such as ``"Comedy" in genres and year >= 1990``.

See docs/policy-expressions.md for what may be written.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..arrays import Indices
from ..attributes import Attributes, Kind
from ..errors import InvalidRequest
from ..identifiers import Identifiers
from ..least_recently_used import LeastRecentlyUsed
from .expression_nodes import Part, Scope
from .facts import Lists

LONGEST: Final = 16 * 1024
"""Bytes of an expression."""
_DAY: Final = 86_400
_DTYPES: Final = {"boolean": np.bool_, "number": np.float64}


class Expression:
    """What `parse` made of a text; it holds for any catalogue.

    Attributes
    ----------
    text
        What it was made of.
    uses_today
        Whether its values are other ones on another day.
    """

    def __init__(self, text: str, whole: Part) -> None:
        self.text = text
        self.uses_today = whole.uses_today
        self._whole = whole

    def check(self, attributes: Attributes, lists: Lists) -> Kind:
        """The kind of its values.

        Raises
        ------
        InvalidRequest
            There is no such attribute or list, or kinds do not fit.
        """
        return self._whole.kind(attributes, lists)

    def evaluate(
        self, attributes: Attributes, lists: Lists, ids: Identifiers, *, today: int | None = None
    ) -> NDArray[Any]:
        """Its values for all n items, BOOL [n]; or FP64 [n], with NaN where one is absent.

        They may be the very array of a column, so nobody may write to them.
        ``today`` is a midnight in Unix seconds, None for the last one.

        Raises
        ------
        InvalidRequest
            As `check`; or its values are neither true or false nor numbers.
        """
        return self._values(attributes, lists, ids, None, today)

    def at(
        self,
        items: Indices,
        attributes: Attributes,
        lists: Lists,
        ids: Identifiers,
        *,
        today: int | None = None,
    ) -> NDArray[Any]:
        """The same for items INT32 [m] alone, in a time that does not depend on n."""
        return self._values(attributes, lists, ids, items, today)

    def _values(
        self,
        attributes: Attributes,
        lists: Lists,
        ids: Identifiers,
        items: Indices | None,
        today: int | None,
    ) -> NDArray[Any]:
        kind = self.check(attributes, lists)
        dtype = _DTYPES.get(kind)
        if dtype is None:
            raise InvalidRequest(
                f"the expression {self.text!r:.80} is a {kind}; write one that is true or false, "
                "or a number"
            )
        if today is None:
            today = this_day() if self.uses_today else 0
        scope = Scope(attributes, lists, ids, items, today)
        with np.errstate(all="ignore"):  # what cannot be computed is absent
            values = np.asarray(self._whole.values(scope), dtype)
        if values.ndim:
            return values
        return np.full(len(ids) if items is None else len(items), values)


def parse(text: str) -> Expression:
    """Read an expression; one that was read lately is remembered.

    Raises
    ------
    InvalidRequest
        It is too long or too deep, or at some column it is none.
    """
    found = _PARSED.get(text)
    if found is None:
        size = _bytes(text)
        if size > LONGEST:
            raise InvalidRequest(
                f"the expression has {size:,} bytes, and at most {LONGEST:,} are read; write a "
                "shorter one, with a named list such as @recalled in place of many values"
            )
        from .grammar import parts_of

        found = Expression(text, parts_of(text))
        _PARSED.put(text, found, size)
    return found


_PARSED: Final = LeastRecentlyUsed[str, Expression](64 * LONGEST)


def _bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"the expression is no UTF-8 text: {error.reason}") from None


def this_day() -> int:
    """The last midnight in UTC, in Unix seconds."""
    now = int(datetime.now(timezone.utc).timestamp())
    return now - now % _DAY
