"""The grammar of expressions: text → the parts of an expression.

The only module that imports lark, which takes as long as a hundred requests; so it is imported when
the first expression comes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Final, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from ..attribute_values import seconds_of
from .expression_nodes import (
    Arithmetic,
    Attribute,
    Comparison,
    Date,
    Id,
    InList,
    InNamedList,
    Junction,
    Known,
    Negative,
    Not,
    Number,
    OneOf,
    Part,
    Text,
    Today,
    Truth,
    wrong,
)

_GRAMMAR: Final = r"""
?start: either
?either: both | both ("or" both)+ -> disjunction
?both: opposite | opposite ("and" opposite)+ -> conjunction
?opposite: relation | "not" opposite -> negation
?relation: sum
    | sum COMPARED sum -> comparison
    | sum "in" _container -> membership
    | sum "not" "in" _container -> non_membership
_container: listed | LIST | attribute
listed: "[" [sum ("," sum)*] "]"
?sum: product | sum SIGN product -> arithmetic
?product: signed | product TIMES signed -> arithmetic
?signed: value | SIGN signed -> negative
?value: NUMBER -> number
    | TEXT -> text
    | attribute
    | NAME "(" (TEXT | attribute) ")" -> call
    | "(" either ")"
attribute: NAME | QUOTED

COMPARED: /==|!=|<=|>=|<|>/
SIGN: /[-+]/
TIMES: /[*\/]/
NUMBER: /([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?/
TEXT: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
NAME: /[^\W\d]\w*/
QUOTED: /`[^`]+`/
LIST: /@\w[\w.-]*/
%ignore /\s+/
"""
_VALUES: Final = frozenset(("NUMBER", "TEXT", "NAME", "QUOTED"))
_EXPECTED: Final = {
    "COMPARED": "a comparison such as ==",
    "IN": "in",
    "AND": "and",
    "OR": "or",
    "SIGN": "+ or -",
    "TIMES": "* or /",
    "LIST": "a list such as @name",
    "LSQB": "[",
    "RSQB": "]",
    "RPAR": ")",
    "COMMA": "a comma",
    "$END": "the end",
}
"""What may stand at a place, in the order in which it is told."""
_HINTS: Final = {
    "=": "compare with ==",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`",
    '"': "the text does not end; close it with the same quote",
    "'": "the text does not end; close it with the same quote",
    "`": "the name does not end; close it with the same quote",
    "@": "the name of a list follows, as in @recalled",
}
_WORDS: Final = ("true", "false", "today", "id")
_FUNCTIONS: Final = ("date", "known")
_ESCAPED: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


@v_args(inline=True)
class _Parts(Transformer[Token, Part]):
    """Makes a part of each rule as soon as it is read, so that nothing is walked by recursion."""

    def disjunction(self, *parts: Part) -> Part:
        return Junction("or", parts)

    def conjunction(self, *parts: Part) -> Part:
        return Junction("and", parts)

    def negation(self, part: Part) -> Part:
        return Not(part)

    def comparison(self, left: Part, operator: Token, right: Part) -> Part:
        return Comparison(left, str(operator), right)

    def membership(self, part: Part, container: Attribute | Token | tuple[Part, ...]) -> Part:
        if isinstance(container, Token):
            return InNamedList(part, _place(container), container[1:])
        if isinstance(container, tuple):
            return OneOf(part, container)
        if not isinstance(container, Attribute):
            raise wrong(container.place, "`in` takes a list")
        return InList(part, container)

    def non_membership(self, part: Part, container: Attribute | Token | tuple[Part, ...]) -> Part:
        return Not(self.membership(part, container))

    def listed(self, *parts: Part | None) -> tuple[Part, ...]:
        return tuple(part for part in parts if part is not None)

    def arithmetic(self, left: Part, operator: Token, right: Part) -> Part:
        return Arithmetic(left, str(operator), right)

    def negative(self, sign: Token, part: Part) -> Part:
        if sign == "+":
            raise wrong(_place(sign), "a value follows, without a sign")
        if isinstance(part, Number):
            return Number(_place(sign), -float(part.number))
        return Negative(_place(sign), part)

    def number(self, token: Token) -> Part:
        number = float(token)
        if number == float("inf"):
            raise wrong(_place(token), "the number is too large")
        return Number(_place(token), number)

    def text(self, token: Token) -> Part:
        return Text(_place(token), _unescaped(token))

    def attribute(self, token: Token) -> Part:
        place, word = _place(token), str(token)
        match word:
            case "true" | "false":
                return Truth(place, truth=word == "true")
            case "today":
                return Today(place)
            case "id":
                return Id(place)
        return Attribute(place, word[1:-1] if token.type == "QUOTED" else word)

    def call(self, name: Token, argument: Token | Part) -> Part:
        match str(name), argument:
            case "date", Token():
                text = _unescaped(argument)
                try:
                    return Date(_place(name), seconds_of(text))
                except ValueError:
                    raise wrong(
                        _place(argument),
                        f"{text!r:.80} is no date; write one as 2026-01-31 or 2026-01-31T10:00Z",
                    ) from None
            case "known", Attribute():
                return Known(_place(name), argument)
            case "date", _:
                raise wrong(_place(name), 'date takes a text, as in date("2026-01-31")')
            case "known", _:
                raise wrong(_place(name), "known takes the name of an attribute")
        raise wrong(_place(name), f"there is no function {name!s:.80}{_near(name, _FUNCTIONS)}")


_LARK: Final = Lark(_GRAMMAR, parser="lalr", transformer=_Parts())


def parts_of(text: str) -> Part:
    """Read an expression; `InvalidRequest` says where it is wrong."""
    try:
        return cast("Part", _LARK.parse(text))
    except UnexpectedCharacters as error:
        place = error.pos_in_stream or 0
        hint = _HINTS.get(text[place], f"expected {_told(error.allowed or ())}")
        raise wrong(place, f"{text[place]!r} cannot be read; {hint}") from None
    except UnexpectedToken as error:
        expected = _told(error.accepts or error.expected)
        if error.token.type == "$END":
            raise wrong(len(text), f"it ends too early; expected {expected}") from None
        hint = ""
        if error.token.type == "COMPARED":
            hint = "; join two comparisons with `and`"
        raise wrong(
            _place(error.token), f"found {str(error.token)!r:.40}, expected {expected}{hint}"
        ) from None


def _place(token: Token) -> int:
    return token.start_pos or 0


def _told(terminals: Collection[str]) -> str:
    values = ["a value"] if _VALUES & set(terminals) - {"NAME"} else []
    if "NAME" in terminals and not values:
        values = ["the name of an attribute"]
    found = [*values, *(told for name, told in _EXPECTED.items() if name in terminals)]
    return " or ".join(filter(None, [", ".join(found[:-1]), *found[-1:]]))


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _unescaped(token: Token) -> str:
    """The text of a literal; two escapes of UTF-16 may stand for one character, as in JSON."""

    def character(match: re.Match[str]) -> str:
        escaped = match[1]
        if len(escaped) > 1:
            return chr(int(escaped[1:], 16))
        return _ESCAPES.get(escaped, escaped)

    text = _ESCAPED.sub(character, token[1:-1])
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise wrong(_place(token), "the text has half a character (\\ud800 to \\udfff)") from None
