"""The parts of an expression: what each is, and its values for all items or for some.

Numbers and dates are FP64, with NaN where one is absent; dates are Unix seconds. What is true or
false is BOOL. Texts and lists have no values: what asks for them looks up their codes.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from ..arrays import Indices
from ..attributes import (
    NO_CODE,
    NO_DATE,
    Attributes,
    BooleanColumn,
    DateColumn,
    Kind,
    ListColumn,
    NumberColumn,
    TextColumn,
    code_of,
    codes_of,
)
from ..errors import InvalidRequest
from ..identifiers import Identifiers, Strings
from .facts import Lists

DEEPEST: Final = 50
"""How deep parts of an expression may lie in one another."""
_DAY: Final = 86_400.0

Truths = NDArray[np.bool_]
Numbers = NDArray[np.float64]


def wrong(place: int, what: str) -> InvalidRequest:
    """What to raise about the character at a place, from 0."""
    return InvalidRequest(f"the expression is wrong at column {place + 1}: {what}")


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What a part is evaluated for: ``items`` INT32 [m], or None for all items of ``ids``."""

    attributes: Attributes
    lists: Lists
    ids: Identifiers
    items: Indices | None
    today: int

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values of the items, of values [n]."""
        return values if self.items is None else values[self.items]

    def among(self, items: Indices) -> Truths:
        """Which of the items are among some INT32 [k], which ascend and differ."""
        if self.items is None:
            found = np.zeros(len(self.ids), np.bool_)
            found[items] = True
            return found
        if not len(items):
            return np.zeros(len(self.items), np.bool_)
        places = np.searchsorted(items, self.items)
        same: Truths = items[np.minimum(places, len(items) - 1)] == self.items
        return same


class Part:
    """Base of the parts.

    Attributes
    ----------
    place
        Where it begins in the text, from 0.
    """

    def __init__(self, place: int, *parts: Part) -> None:
        self.place = place
        self.uses_today: bool = any(part.uses_today for part in parts)
        self.depth: int = 1 + max((part.depth for part in parts), default=0)
        if self.depth > DEEPEST:
            raise wrong(place, f"more than {DEEPEST} parts lie in one another; write it flatter")

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        """What its values are; `InvalidRequest` where parts of it do not fit."""
        raise NotImplementedError

    def values(self, scope: Scope) -> Any:
        """Its values [m], or one value for all; what `kind` refuses has none."""
        raise NotImplementedError

    def known(self, scope: Scope) -> Any:  # noqa: ARG002
        """Where a part that is true or false is present: BOOL [m], or True for all."""
        return True


class Number(Part):
    def __init__(self, place: int, number: float) -> None:
        super().__init__(place)
        self.number = np.float64(number)

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:  # noqa: ARG002
        return "number"

    def values(self, scope: Scope) -> np.float64:  # noqa: ARG002
        return self.number


class Date(Part):
    def __init__(self, place: int, seconds: int) -> None:
        super().__init__(place)
        self.seconds = np.float64(seconds)

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:  # noqa: ARG002
        return "date"

    def values(self, scope: Scope) -> np.float64:  # noqa: ARG002
        return self.seconds


class Today(Part):
    """The midnight before now, in UTC."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.uses_today = True

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:  # noqa: ARG002
        return "date"

    def values(self, scope: Scope) -> np.float64:
        return np.float64(scope.today)


class Truth(Part):
    def __init__(self, place: int, *, truth: bool) -> None:
        super().__init__(place)
        self.truth = np.bool_(truth)

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:  # noqa: ARG002
        return "boolean"

    def values(self, scope: Scope) -> np.bool_:  # noqa: ARG002
        return self.truth


class Text(Part):
    def __init__(self, place: int, text: str) -> None:
        super().__init__(place)
        self.text = text

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:  # noqa: ARG002
        return "text"


class Id(Part):
    """The ids of the items."""

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:  # noqa: ARG002
        return "text"


class Attribute(Part):
    def __init__(self, place: int, name: str) -> None:
        super().__init__(place)
        self.name = name

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:  # noqa: ARG002
        try:
            return attributes.kind(self.name)
        except InvalidRequest as error:
            raise wrong(self.place, str(error)) from None

    def values(self, scope: Scope) -> NDArray[Any]:
        match scope.attributes.column(self.name):
            case NumberColumn(numbers):
                return scope.of(numbers)
            case DateColumn(seconds):
                given = scope.of(seconds)
                return np.where(given == NO_DATE, np.nan, given)
            case BooleanColumn(truths):
                found: Truths = scope.of(truths) == 1
                return found
        raise TypeError(f"{self.name} has no values")

    def known(self, scope: Scope) -> Truths:
        found: Truths
        match scope.attributes.column(self.name):
            case NumberColumn(numbers):
                found = ~np.isnan(scope.of(numbers))
            case DateColumn(seconds):
                found = scope.of(seconds) != NO_DATE
            case BooleanColumn(truths):
                found = scope.of(truths) != NO_CODE
            case TextColumn(codes):
                found = scope.of(codes) != NO_CODE
            case ListColumn(offsets):
                found = scope.of(offsets[1:]) > scope.of(offsets[:-1])
        return found


class Known(Part):
    """Whether an attribute is present."""

    def __init__(self, place: int, attribute: Attribute) -> None:
        super().__init__(place, attribute)
        self._attribute = attribute

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        self._attribute.kind(attributes, lists)
        return "boolean"

    def values(self, scope: Scope) -> Truths:
        return self._attribute.known(scope)


class Arithmetic(Part):
    """``+ - * /`` of numbers; a day may be added to a date, and two dates have days between them.

    Division by 0, and a result beyond FP64, are absent.
    """

    _KINDS: Final[Mapping[tuple[str, Kind, Kind], Kind]] = {
        **{(operator, "number", "number"): "number" for operator in "+-*/"},
        ("+", "date", "number"): "date",
        ("-", "date", "number"): "date",
        ("-", "date", "date"): "number",
    }
    _COMPUTE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
        "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide,
    }  # fmt: skip

    def __init__(self, left: Part, operator: str, right: Part) -> None:
        super().__init__(left.place, left, right)
        self._left, self._operator, self._right = left, operator, right

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        kinds = self._left.kind(attributes, lists), self._right.kind(attributes, lists)
        found = self._KINDS.get((self._operator, *kinds))
        if found is None:
            raise wrong(
                self._right.place,
                f"{self._operator} of a {kinds[0]} and a {kinds[1]}; it takes numbers, and + and - "
                "take a date and a number of days",
            )
        return found

    def values(self, scope: Scope) -> Any:
        left, right = self._left.values(scope), self._right.values(scope)
        kinds = [part.kind(scope.attributes, scope.lists) for part in (self._left, self._right)]
        if kinds == ["date", "number"]:
            right = right * _DAY
        found = self._COMPUTE[self._operator](left, right)
        if kinds == ["date", "date"]:
            found = found / _DAY
        return np.where(np.isfinite(found), found, np.nan)


class Negative(Part):
    def __init__(self, place: int, part: Part) -> None:
        super().__init__(place, part)
        self._part = part

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        _expect("number", self._part, attributes, lists, "-")
        return "number"

    def values(self, scope: Scope) -> Any:
        return -self._part.values(scope)


class Comparison(Part):
    """``== != < <= > >=`` of two of a kind; false where one is absent."""

    def __init__(self, left: Part, operator: str, right: Part) -> None:
        super().__init__(left.place, left, right)
        self._left, self._operator, self._right = left, operator, right
        if isinstance(left, Text):  # so that the text is on the right
            self._left, self._operator, self._right = right, _TURNED[operator], left
        self._places = _OfVocabulary(self._bounds)

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        left, right = self._left.kind(attributes, lists), self._right.kind(attributes, lists)
        if left != right:
            hint = ""
            if {left, right} == {"date", "text"}:
                hint = '; write a date as date("2026-01-31")'
            elif {left, right} == {"list", "text"}:
                hint = '; ask a list by `"…" in` its name'
            raise wrong(
                self.place,
                f"a {left} is compared with a {right} by {self._operator}; both must be of one "
                f"kind{hint}",
            )
        operator = self._operator
        if left == "list" or (left == "boolean" and operator not in _EQUALITY):
            raise wrong(self.place, f"a {left} cannot be compared by {operator}")
        if left == "text":
            if not isinstance(self._right, Text) or isinstance(self._left, Text):
                raise wrong(self.place, 'compare an attribute with a text such as "a"')
            if isinstance(self._left, Id) and operator not in _EQUALITY:
                raise wrong(self.place, f"ids are compared by == and !=, not by {operator}")
        return "boolean"

    def values(self, scope: Scope) -> Any:
        if isinstance(self._right, Text):
            return self._of_texts(scope, self._right.text)
        left, right = self._left.values(scope), self._right.values(scope)
        match self._operator:
            case "==":
                found = left == right
            case "!=":
                found = left != right
            case "<":
                found = left < right
            case "<=":
                found = left <= right
            case ">":
                found = left > right
            case _:
                found = left >= right
        if getattr(left, "dtype", None) == np.bool_:
            return found & self._left.known(scope) & self._right.known(scope)
        if self._operator == "!=":  # which alone is true of NaN
            return found & ~np.isnan(left) & ~np.isnan(right)
        return found

    def _of_texts(self, scope: Scope, text: str) -> Truths:
        if isinstance(self._left, Id):
            same = scope.among(_items_of(scope.ids, [text]))
            return same if self._operator == "==" else ~same
        column = _text_column(self._left, scope)
        low, high = self._places(column.vocabulary).tolist()
        codes: Indices = scope.of(column.codes)
        found: Truths
        match self._operator:
            case "==":
                found = codes == (low if low < high else NO_CODE - 1)
            case "!=":
                found = (codes != NO_CODE) & ((codes < low) | (codes >= high))
            case "<":
                found = (codes != NO_CODE) & (codes < low)
            case "<=":
                found = (codes != NO_CODE) & (codes < high)
            case ">":
                found = codes >= high
            case _:
                found = codes >= low
        return found

    def _bounds(self, vocabulary: Strings) -> Indices:
        """The first code that is not less than the text, and the first that is greater."""
        assert isinstance(self._right, Text)
        wanted, words = self._right.text.encode(), cast("Sequence[bytes]", vocabulary)
        return np.array([bisect_left(words, wanted), bisect_right(words, wanted)], np.int32)


class InList(Part):
    """Whether a text is in a list attribute: ``"Comedy" in genres``."""

    def __init__(self, text: Part, attribute: Attribute) -> None:
        super().__init__(text.place, text, attribute)
        self._text, self._attribute = text, attribute
        self._code = _OfVocabulary(self._code_in)

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        found = self._attribute.kind(attributes, lists)
        name = self._attribute.name
        if found != "list":
            raise wrong(
                self._attribute.place,
                f"{name} is a {found}, and `in` takes a list; compare {name} by ==",
            )
        if not isinstance(self._text, Text):
            raise wrong(self.place, f'what is asked for in {name} must be a text such as "a"')
        return "boolean"

    def values(self, scope: Scope) -> Truths:
        column = scope.attributes.column(self._attribute.name)
        assert isinstance(column, ListColumn)
        (code,) = self._code(column.vocabulary).tolist()
        return scope.among(column.items_with(code))

    def _code_in(self, vocabulary: Strings) -> Indices:
        assert isinstance(self._text, Text)
        return np.array([code_of(vocabulary, self._text.text)], np.int32)


class OneOf(Part):
    """Whether a value is one of some that are written out: ``brand in ["a", "b"]``."""

    def __init__(self, part: Part, listed: Sequence[Part]) -> None:
        super().__init__(part.place, part, *listed)
        self._part, self._listed = part, listed
        self._texts = [each.text for each in listed if isinstance(each, Text)]
        self._codes = _OfVocabulary(lambda vocabulary: codes_of(vocabulary, self._texts))

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        found = _kind_of_one(self._part, attributes, lists)
        for each in self._listed:
            if not isinstance(each, Number | Text | Date):
                raise wrong(each.place, "a list is written of texts, numbers or dates")
            other = each.kind(attributes, lists)
            if other != found:
                raise wrong(each.place, f"a {other} is in a list where a {found} is looked for")
        return "boolean"

    def values(self, scope: Scope) -> Truths:
        if isinstance(self._part, Id):
            return scope.among(_items_of(scope.ids, self._texts))
        if isinstance(self._part, Attribute):
            column = scope.attributes.column(self._part.name)
            if isinstance(column, TextColumn):
                return np.isin(scope.of(column.codes), self._codes(column.vocabulary))
        wanted = np.array([each.values(scope) for each in self._listed], np.float64)
        return np.isin(self._part.values(scope), wanted)


class InNamedList(Part):
    """Whether an id or a text is in a named list: ``id in @recalled``."""

    def __init__(self, part: Part, place: int, name: str) -> None:
        super().__init__(part.place, part)
        self._part, self._list_place, self._name = part, place, name

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        if self._name not in lists:
            near = difflib.get_close_matches(self._name, lists, 1)
            there = ", ".join(f"@{name}" for name in near or lists) or "none"
            raise wrong(
                self._list_place,
                f"there is no list @{self._name:.80}; "
                f"{f'did you mean {there}?' if near else f'there are: {there}'} A list is a file "
                f"lists/{self._name:.80}.txt in the directory of `serve --rules`",
            )
        found = _kind_of_one(self._part, attributes, lists)
        if found != "text":
            raise wrong(self.place, f"@{self._name} is a list of texts, and this is a {found}")
        return "boolean"

    def values(self, scope: Scope) -> Truths:
        found = scope.lists[self._name]
        if isinstance(self._part, Id):
            return scope.among(found.items(scope.ids))
        column = _text_column(self._part, scope)
        return np.isin(scope.of(column.codes), found.codes(column))


class Not(Part):
    def __init__(self, part: Part) -> None:
        super().__init__(part.place, part)
        self._part = part

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        _expect("boolean", self._part, attributes, lists, "not")
        return "boolean"

    def values(self, scope: Scope) -> Any:
        return ~self._part.values(scope)


class Junction(Part):
    """``and`` or ``or`` of two and more."""

    def __init__(self, word: str, parts: Sequence[Part]) -> None:
        super().__init__(parts[0].place, *parts)
        self._word, self._parts = word, parts

    def kind(self, attributes: Attributes, lists: Lists) -> Kind:
        for part in self._parts:
            _expect("boolean", part, attributes, lists, self._word)
        return "boolean"

    def values(self, scope: Scope) -> Any:
        found = self._parts[0].values(scope)
        for part in self._parts[1:]:
            values = part.values(scope)
            found = found & values if self._word == "and" else found | values
        return found


class _OfVocabulary:
    """What texts are in a vocabulary, remembered for the last one: to look it up takes longer."""

    def __init__(self, find: Callable[[Strings], Indices]) -> None:
        self._find = find
        self._last: tuple[Strings, Indices] | None = None

    def __call__(self, vocabulary: Strings) -> Indices:
        last = self._last
        if last is None or last[0] is not vocabulary:
            self._last = last = vocabulary, self._find(vocabulary)
        return last[1]


_EQUALITY: Final = ("==", "!=")
_TURNED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _expect(wanted: Kind, part: Part, attributes: Attributes, lists: Lists, word: str) -> None:
    found = part.kind(attributes, lists)
    if found != wanted:
        what = "what is true or false" if wanted == "boolean" else f"a {wanted}"
        raise wrong(part.place, f"this is a {found}, and `{word}` takes {what}")


def _kind_of_one(part: Part, attributes: Attributes, lists: Lists) -> Kind:
    """The kind of what is looked for in a list."""
    found = part.kind(attributes, lists)
    if found == "list":
        raise wrong(part.place, 'a list is asked by `"…" in` its name, one text at a time')
    if isinstance(part, Text) or found == "boolean":
        raise wrong(part.place, "an attribute is looked for in a list")
    return found


def _items_of(ids: Identifiers, texts: Sequence[str]) -> Indices:
    found = ids.indices([text.encode() for text in texts])
    return np.array(sorted({item for item in found if item is not None}), np.int32)


def _text_column(part: Part, scope: Scope) -> TextColumn:
    assert isinstance(part, Attribute)
    column = scope.attributes.column(part.name)
    assert isinstance(column, TextColumn)
    return column
