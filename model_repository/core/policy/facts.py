"""What expressions are evaluated against: attributes of the items, named lists, ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from ..arrays import Indices
from ..attributes import NO_ATTRIBUTES, Attributes, BooleanColumn, TextColumn, codes_of
from ..catalogue import Catalogue
from ..identifiers import Identifiers, Strings

IS_NEW: Final = "is_new"
"""Whether an item has no training events."""


class NamedList:
    """Texts under a name such as ``@recalled``: ids of items, or values of a text attribute.

    It belongs to one `Facts`.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._items: tuple[Identifiers, Indices] | None = None
        self._codes: dict[int, tuple[Strings, Indices]] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def items(self, ids: Identifiers) -> Indices:
        """The items INT32 [m] whose ids are in the list, ascending."""
        if self._items is None or self._items[0] is not ids:
            found = ids.indices([text.encode() for text in self.texts])
            known = sorted({item for item in found if item is not None})
            self._items = ids, np.array(known, np.int32)
        return self._items[1]

    def codes(self, column: TextColumn) -> Indices:
        """The codes INT32 [m] of those texts that a column has, ascending."""
        vocabulary = column.vocabulary
        found = self._codes.get(id(vocabulary))
        if found is None:
            # With the vocabulary, so that no other one gets its number.
            found = self._codes[id(vocabulary)] = vocabulary, codes_of(vocabulary, self.texts)
        return found[1]


Lists = Mapping[str, NamedList]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """All that is known at a time; what is made of it holds for one ``generation``."""

    ids: Identifiers
    attributes: Attributes = NO_ATTRIBUTES
    lists: Lists = field(default_factory=dict)
    generation: int = 0


def attributes_of(catalogue: Catalogue) -> Attributes:
    """The attributes of a version, and `IS_NEW`, unless the export has one of that name."""
    new = np.zeros(len(catalogue), np.int8)
    new[catalogue.cold] = 1
    return Attributes({IS_NEW: BooleanColumn(new), **catalogue.attributes.columns})


class FactsSource(Protocol):
    """Where facts come from; a request takes them once, so that it sees one state."""

    def current(self) -> Facts: ...

    def close(self) -> None:
        """Let go of what is held; nothing is asked any more."""
        ...


class FixedFacts:
    """The attributes of a version, and no lists (a `FactsSource`)."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._facts = Facts(catalogue.ids, attributes_of(catalogue))

    def current(self) -> Facts:
        return self._facts

    def close(self) -> None:
        """Do nothing."""
