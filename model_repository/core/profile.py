"""A user's profile (age, occupation …) as one id for each column that the model knows."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import PROFILE
from .errors import InvalidRequest

_CLIP = 60
"""Characters of a value that an error message repeats."""


@dataclass(frozen=True, slots=True)
class ProfileColumn:
    """One column of the user file, and how its values become ids; id 0 is "not known".

    Of a column with ``values``, value ``i`` has id ``i + 1``. Of one with ``edges``, which ascend,
    a number has id 1 plus the number of edges that it reaches. A column has one of the two.
    """

    name: str
    values: tuple[str, ...] | None = None
    edges: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.values is None) == (self.edges is None):
            raise ValueError(f"profile column {self.name!r} must have either values or edges")

    @property
    def ids(self) -> int:
        """How many ids there are, 0 among them."""
        return len(self.values) + 1 if self.values is not None else len(self.edges or ()) + 2

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``from_dict`` reads them back."""
        if self.values is not None:
            return {"name": self.name, "values": list(self.values)}
        return {"name": self.name, "edges": list(self.edges or ())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProfileColumn:
        known = {key: tuple(value) for key, value in values.items() if key != "name"}
        return cls(values["name"], **known)


class ProfileReader:
    """Turns profiles into ids, by the columns of one model."""

    def __init__(self, columns: Sequence[ProfileColumn]) -> None:
        self._columns = {
            column.name: (place, _id_of(column)) for place, column in enumerate(columns)
        }

    def ids(self, profile: Mapping[str, object]) -> NDArray[np.int32]:
        """INT32 [P]; 0 for a column that is left out, null, or has a value that is not known.

        A number names the value that is written as it is, 24 and 24.0 the value "24".

        Raises
        ------
        InvalidRequest
            There is no such column, or a value is neither text nor a number.
        """
        found = np.zeros(len(self._columns), np.int32)
        for name, value in profile.items():
            if name not in self._columns:
                known = ", ".join(self._columns)
                known = f"its columns are {known}" if known else "it was trained without any"
                raise InvalidRequest(
                    f"{PROFILE.name}[0] gives {_show(name)} the value {_show(value)}, and the "
                    f"model knows no such column; {known}"
                )
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise InvalidRequest(
                    f"{PROFILE.name}[0] gives {_show(name)} the value {_show(value)}; send a "
                    "string or a number"
                )
            place, id_of = self._columns[name]
            found[place] = id_of(value)
        return found


def _id_of(column: ProfileColumn) -> Callable[[str | int | float], int]:
    if column.values is not None:
        numbers = {value: number for number, value in enumerate(column.values, 1)}
        return lambda value: numbers.get(_text(value), 0)
    edges = column.edges or ()

    def bucket(value: str | int | float) -> int:
        number = as_number(value)
        return 0 if number is None else 1 + bisect_right(edges, number)

    return bucket


def as_number(value: str | int | float) -> float | None:
    """The finite number that a value is; None if it is none."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: str | int | float) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _show(value: object) -> str:
    text = repr(value)
    return f"{text[:_CLIP]}…" if len(text) > _CLIP else text
