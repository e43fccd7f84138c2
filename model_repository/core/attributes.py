"""Attributes of items: columns of n values, each of one kind, in arrays that processes share."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import ClassVar, Final, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from .arrays import Indices, Seconds
from .errors import InvalidRequest
from .identifiers import Strings

Kind = Literal["text", "number", "boolean", "list", "date"]
KINDS: Final[Sequence[Kind]] = get_args(Kind)

NO_CODE: Final = -1
"""The code of an item without a text, and what stands for a boolean that is absent."""
NO_DATE: Final = np.iinfo(np.int64).min
"""What stands for a date that is absent. For a number it is NaN, for a list the empty list."""
SEPARATORS: Final = "|;"
"""Of the values of a list, where nothing else is known of its column."""
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn:
    """A text for each item: INT32 [n] ``codes``, places in the sorted ``vocabulary``.

    It is sorted by the bytes of UTF-8, which is the order of the characters.
    """

    kind: ClassVar[Kind] = "text"
    codes: Indices
    vocabulary: Strings

    def __len__(self) -> int:
        return len(self.codes)

    def values(self, items: Indices) -> list[object]:
        return [
            None if code == NO_CODE else self.vocabulary[code].decode()
            for code in self.codes[items].tolist()
        ]

    def replaced(self, items: Indices, column: TextColumn) -> TextColumn:
        vocabulary, (own, others) = _merged(self.vocabulary, column.vocabulary)
        codes = own[self.codes]
        codes[items] = others[column.codes]
        return TextColumn(codes, vocabulary)


@dataclass(frozen=True, slots=True, eq=False)
class NumberColumn:
    """A number for each item: FP64 [n] ``numbers``, finite or NaN."""

    kind: ClassVar[Kind] = "number"
    numbers: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.numbers)

    def values(self, items: Indices) -> list[object]:
        return [
            None if value != value else int(value) if value.is_integer() else value
            for value in self.numbers[items].tolist()
        ]

    def replaced(self, items: Indices, column: NumberColumn) -> NumberColumn:
        numbers = np.array(self.numbers)
        numbers[items] = column.numbers
        return NumberColumn(numbers)


@dataclass(frozen=True, slots=True, eq=False)
class BooleanColumn:
    """True or false for each item: INT8 [n] ``truths``, 1, 0 or `NO_CODE`."""

    kind: ClassVar[Kind] = "boolean"
    truths: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.truths)

    def values(self, items: Indices) -> list[object]:
        return [None if value == NO_CODE else bool(value) for value in self.truths[items].tolist()]

    def replaced(self, items: Indices, column: BooleanColumn) -> BooleanColumn:
        truths = np.array(self.truths)
        truths[items] = column.truths
        return BooleanColumn(truths)


@dataclass(frozen=True, slots=True, eq=False)
class DateColumn:
    """A moment for each item: INT64 [n] ``seconds`` since 1970 in UTC, or `NO_DATE`.

    A day is its midnight.
    """

    kind: ClassVar[Kind] = "date"
    seconds: Seconds

    def __len__(self) -> int:
        return len(self.seconds)

    def values(self, items: Indices) -> list[object]:
        return [
            None if value == NO_DATE else date_text(value) for value in self.seconds[items].tolist()
        ]

    def replaced(self, items: Indices, column: DateColumn) -> DateColumn:
        seconds = np.array(self.seconds)
        seconds[items] = column.seconds
        return DateColumn(seconds)


@dataclass(frozen=True, slots=True, eq=False)
class ListColumn:
    """Texts for each item, each at most once, and the items of each text.

    Attributes
    ----------
    offsets, codes
        INT64 [n + 1] and INT32 [c]: item i has ``codes[offsets[i] : offsets[i + 1]]``, ascending
        places in the vocabulary.
    vocabulary
        Sorted, v texts.
    item_offsets, items
        INT64 [v + 1] and INT32 [c]: code k is had by ``items[item_offsets[k] :
        item_offsets[k + 1]]``, ascending.
    separators
        Characters that separate the values in a text of this column.
    """

    kind: ClassVar[Kind] = "list"
    offsets: NDArray[np.int64]
    codes: Indices
    vocabulary: Strings
    item_offsets: NDArray[np.int64]
    items: Indices
    separators: str = SEPARATORS

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def items_with(self, code: int) -> Indices:
        """The items INT32 [m] that have a code, ascending; none for `NO_CODE`."""
        if code == NO_CODE:
            return self.items[:0]
        return self.items[self.item_offsets[code] : self.item_offsets[code + 1]]

    def values(self, items: Indices) -> list[object]:
        return [
            [
                self.vocabulary[code].decode()
                for code in self.codes[self.offsets[item] : self.offsets[item + 1]].tolist()
            ]
            for item in items.tolist()
        ]

    def replaced(self, items: Indices, column: ListColumn) -> ListColumn:
        vocabulary, (own, others) = _merged(self.vocabulary, column.vocabulary)
        item_of = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))
        kept = ~np.isin(item_of, items)
        return _list_column(
            len(self),
            np.concatenate(
                [item_of[kept], np.repeat(items.astype(np.int32), np.diff(column.offsets))]
            ),
            np.concatenate([own[self.codes[kept]], others[column.codes]]),
            vocabulary,
            self.separators,
        )


Column = TextColumn | NumberColumn | BooleanColumn | ListColumn | DateColumn


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
    """The attributes of a catalogue: name → column of n values."""

    columns: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns)

    def kind(self, name: str) -> Kind:
        """What the values of an attribute are.

        Raises
        ------
        InvalidRequest
            There is no such attribute.
        """
        return self.column(name).kind

    def values(self, name: str, items: Indices) -> list[object]:
        """The values of an attribute for items INT32 [m].

        Each is a text, an int or a float, a boolean, a list of texts, or an ISO 8601 text for a
        date. None where it is absent, and an empty list where a list is.

        Raises
        ------
        InvalidRequest
            There is no such attribute.
        """
        return self.column(name).values(items)

    def column(self, name: str) -> Column:
        """A column; `InvalidRequest` if there is none of that name."""
        found = self.columns.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.columns, 1)
            hint = f"Did you mean {near[0]}?" if near else f"It has {_listed(self.columns)}."
            raise InvalidRequest(
                f"the model has no attribute {name!r:.80}. {hint} To have it, export it with "
                f"`--attributes {name:.80}`"
            )
        return found


NO_ATTRIBUTES: Final = Attributes()


def code_of(vocabulary: Strings, text: str) -> int:
    """The place of a text in a sorted vocabulary; `NO_CODE` if it is not there."""
    wanted = text.encode()
    # Strings are a sequence for what bisection asks of one.
    place = bisect_left(cast("Sequence[bytes]", vocabulary), wanted)
    return place if place < len(vocabulary) and vocabulary[place] == wanted else NO_CODE


def codes_of(vocabulary: Strings, texts: Iterable[str]) -> Indices:
    """The places INT32 [m] of those texts that a sorted vocabulary has, ascending."""
    found = {code_of(vocabulary, text) for text in texts} - {NO_CODE}
    return np.array(sorted(found), np.int32)


def text_column(texts: Sequence[str | None]) -> TextColumn:
    """A column of texts [n], None where there is none."""
    words, code = _vocabulary(text for text in texts if text is not None)
    codes = [NO_CODE if text is None else code[text] for text in texts]
    return TextColumn(np.array(codes, np.int32), words)


def list_column(lists: Sequence[Sequence[str]], separators: str = SEPARATORS) -> ListColumn:
    """A column of lists [n]; a text that is twice in a list counts once."""
    words, code = _vocabulary(text for texts in lists for text in texts)
    item_of = np.repeat(np.arange(len(lists), dtype=np.int32), [len(texts) for texts in lists])
    codes = np.array([code[text] for texts in lists for text in texts], np.int32)
    return _list_column(len(lists), item_of, codes, words, separators)


def absent_column(kind: Kind, items: int) -> Column:
    """A column of a kind in which no item has a value."""
    match kind:
        case "text":
            return TextColumn(np.full(items, NO_CODE, np.int32), Strings.of([]))
        case "number":
            return NumberColumn(np.full(items, np.nan))
        case "boolean":
            return BooleanColumn(np.full(items, NO_CODE, np.int8))
        case "date":
            return DateColumn(np.full(items, NO_DATE))
        case "list":
            return list_column([[]] * items)


def date_text(seconds: int) -> str:
    """Unix seconds as ISO 8601: the day alone at midnight."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.date().isoformat() if seconds % _DAY == 0 else moment.isoformat()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _list_column(
    items: int, item_of: Indices, codes: Indices, vocabulary: Strings, separators: str
) -> ListColumn:
    """A column of pairs of an item and a code, INT32 [c] each, in any order."""
    pairs = np.unique(item_of.astype(np.int64) * len(vocabulary) + codes)
    having, had = (each.astype(np.int32) for each in np.divmod(pairs, max(1, len(vocabulary))))
    return ListColumn(
        _starts(having, items),
        had,
        vocabulary,
        _starts(had, len(vocabulary)),
        having[np.argsort(had, kind="stable")],
        separators,
    )


def _starts(keys: Indices, number: int) -> NDArray[np.int64]:
    """Where each key from 0 to ``number`` begins, once they are sorted: INT64 [number + 1]."""
    return np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=number))]).astype(np.int64)


def _vocabulary(texts: Iterable[str]) -> tuple[Strings, dict[str, int]]:
    words = sorted(set(texts))
    return Strings.of(words), {word: code for code, word in enumerate(words)}


def _merged(one: Strings, other: Strings) -> tuple[Strings, list[Indices]]:
    """A vocabulary of two, and where it has the codes of each: INT32 [v + 1], `NO_CODE` last."""
    words = [[strings[place].decode() for place in range(len(strings))] for strings in (one, other)]
    vocabulary, code = _vocabulary(word for each in words for word in each)
    return vocabulary, [
        np.array([*(code[word] for word in each), NO_CODE], np.int32) for each in words
    ]
