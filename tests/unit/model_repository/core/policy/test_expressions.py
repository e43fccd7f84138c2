"""Expressions mean what docs/policy.md says, for all items and for some, and bad ones are told."""

from __future__ import annotations

import json
import math
import operator
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository.core.attributes import (
    NO_DATE,
    Attributes,
    BooleanColumn,
    Column,
    DateColumn,
    NumberColumn,
    list_column,
    text_column,
)
from model_repository.core.errors import InvalidRequest
from model_repository.core.identifiers import Identifiers
from model_repository.core.policy.expression_nodes import DEEPEST
from model_repository.core.policy.expressions import LONGEST, parse
from model_repository.core.policy.facts import NamedList

DAY: Final = 86_400
TODAY: Final = 20_000 * DAY
Item = Mapping[str, Any]
"""The attributes of an item as Python has them, None where one is absent; and its id."""

WORDS = st.sampled_from(["a", "b", "é", 'q"\\', ""])
NUMBERS = st.sampled_from([0.0, 1.0, -1.5, 2.0, 1e300])
DATES = st.integers(19_998, 20_002).map(lambda day: day * DAY)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "brand": st.none() | WORDS,
            "odd name": st.none() | WORDS,
            "year": st.none() | NUMBERS,
            "price": st.none() | NUMBERS,
            "adult": st.none() | st.booleans(),
            "new": st.none() | st.booleans(),
            "genres": st.lists(WORDS, max_size=3),
            "released": st.none() | DATES,
        }
    ),
    min_size=1,
    max_size=8,
)
LISTS: Final = {"some": ["a", "i1", "x"], "empty": [], "more-1": ["é", "i0", "i2", 'q"\\']}

Meaning = Callable[[Item], Any]
Written = tuple[str, Meaning]
"""An expression: its text, and what it is of an item."""

COMPARE: Final = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


def attribute(name: str) -> Written:
    return (f"`{name}`" if " " in name else name), lambda item: item[name]


def constant(text: str, value: Any) -> Written:
    return text, lambda _: value


def both(text: str, left: Meaning, right: Meaning, compute: Callable[[Any, Any], Any]) -> Written:
    """What is absent where one of two is."""

    def meaning(item: Item) -> Any:
        values = left(item), right(item)
        return None if None in values else compute(*values)

    return text, meaning


def finite(compute: Callable[[float, float], float]) -> Callable[[float, float], float | None]:
    def computed(left: float, right: float) -> float | None:
        try:
            found = compute(left, right)
        except (ZeroDivisionError, OverflowError):
            return None
        return found if math.isfinite(found) else None

    return computed


ARITHMETIC: Final = {
    "+": finite(operator.add),
    "-": finite(operator.sub),
    "*": finite(operator.mul),
    "/": finite(operator.truediv),
}


@st.composite
def numbers(draw: st.DrawFn, depth: int = 2) -> Written:
    choice = draw(st.integers(0, 5 if depth else 1))
    match choice:
        case 0:
            return attribute(draw(st.sampled_from(["year", "price"])))
        case 1:
            value = draw(NUMBERS)
            return constant(f"{value!r}", value)
        case 2:
            (left, of_left), (right, of_right) = draw(dates(depth - 1)), draw(dates(depth - 1))
            return both(f"({left} - {right})", of_left, of_right, lambda x, y: (x - y) / DAY)
        case 3:
            text, meaning = draw(numbers(depth - 1))
            return both(f"-({text})", meaning, lambda _: 0, lambda x, _: -x)
    sign = draw(st.sampled_from(list(ARITHMETIC)))
    (left, of_left), (right, of_right) = draw(numbers(depth - 1)), draw(numbers(depth - 1))
    return both(f"({left} {sign} {right})", of_left, of_right, ARITHMETIC[sign])


@st.composite
def dates(draw: st.DrawFn, depth: int = 1) -> Written:
    match draw(st.integers(0, 3 if depth > 0 else 2)):
        case 0:
            return attribute("released")
        case 1:
            return constant("today", TODAY)
        case 2:
            day = draw(st.integers(1, 9))
            return constant(f"date('2024-10-0{day}')", (19_996 + day) * DAY)
    sign = draw(st.sampled_from("+-"))
    (left, of_left), days = draw(dates(depth - 1)), draw(st.integers(0, 3))
    return both(
        f"({left} {sign} {days})",
        of_left,
        lambda _: days * DAY,
        operator.add if sign == "+" else operator.sub,
    )


@st.composite
def comparisons(draw: st.DrawFn) -> Written:
    sign = draw(st.sampled_from(list(COMPARE)))
    match draw(st.sampled_from(["text", "id", "number", "date", "boolean"])):
        case "text":
            name, word = draw(st.sampled_from(["brand", "odd name"])), draw(WORDS)
            sides = [attribute(name), constant(json.dumps(word), word)]
            if draw(st.booleans()):
                sides.reverse()
            (left, of_left), (right, of_right) = sides
        case "id":
            sign = draw(st.sampled_from(["==", "!="]))
            name = draw(st.sampled_from(["i0", "i3", "x"]))
            (left, of_left), (right, of_right) = attribute("id"), constant(f"'{name}'", name)
        case "number":
            (left, of_left), (right, of_right) = draw(numbers()), draw(numbers())
        case "date":
            (left, of_left), (right, of_right) = draw(dates()), draw(dates())
        case _:
            sign = draw(st.sampled_from(["==", "!="]))
            (left, of_left), (right, of_right) = draw(flags()), draw(flags())
    text, meaning = both(f"{left} {sign} {right}", of_left, of_right, COMPARE[sign])
    return text, lambda item: bool(meaning(item))


@st.composite
def flags(draw: st.DrawFn) -> Written:
    if draw(st.booleans()):
        return attribute(draw(st.sampled_from(["adult", "new"])))
    value = draw(st.booleans())
    return constant(str(value).lower(), value)


@st.composite
def memberships(draw: st.DrawFn) -> Written:
    no = draw(st.sampled_from(["", "not "]))
    match draw(st.sampled_from(["genres", "text", "number", "named", "known"])):
        case "genres":
            word = draw(WORDS)
            text = f"{json.dumps(word)} {no}in genres"
            meaning: Meaning = lambda item: word in item["genres"]  # noqa: E731
        case "text":
            name, words = draw(st.sampled_from(["brand", "id"])), draw(st.lists(WORDS | ids()))
            text = f"{name} {no}in {json.dumps(words, ensure_ascii=False)}"
            meaning = lambda item: item[name] in words  # noqa: E731
        case "number":
            values = draw(st.lists(NUMBERS))
            (left, of_left) = draw(numbers())
            text = f"{left} {no}in [{', '.join(map(repr, values))}]"
            meaning = lambda item: of_left(item) in values  # noqa: E731
        case "named":
            name = draw(st.sampled_from(["brand", "id"]))
            listed = draw(st.sampled_from(list(LISTS)))
            text = f"{name} {no}in @{listed}"
            meaning = lambda item: item[name] in LISTS[listed]  # noqa: E731
        case _:
            name = draw(st.sampled_from(list(COLUMNS)))
            text = f"{no}known({attribute(name)[0]})"
            meaning = lambda item: present(item[name])  # noqa: E731
    return text, (lambda item: not meaning(item)) if no else meaning


def ids() -> st.SearchStrategy[str]:
    return st.sampled_from(["i0", "i1", "i5", "x"])


def present(value: object) -> bool:
    return value is not None and value != []


@st.composite
def truths(draw: st.DrawFn, depth: int = 3) -> Written:
    match draw(st.integers(0, 5 if depth else 2)):
        case 0:
            return draw(comparisons())
        case 1:
            return draw(memberships())
        case 2:
            text, meaning = draw(flags())
            return text, lambda item: bool(meaning(item))
        case 3:
            text, meaning = draw(truths(depth - 1))
            return f"not ({text})", lambda item: not meaning(item)
    word, decide = draw(st.sampled_from([("and", all), ("or", any)]))
    parts = draw(st.lists(truths(depth - 1), min_size=2, max_size=4))
    text = f" {word} ".join(f"({part})" for part, _ in parts)
    return text, lambda item: decide(meaning(item) for _, meaning in parts)


COLUMNS: Final[Mapping[str, Callable[[Sequence[Any]], Column]]] = {
    "brand": text_column,
    "odd name": text_column,
    "year": lambda values: NumberColumn(np.array(values, np.float64)),
    "price": lambda values: NumberColumn(np.array(values, np.float64)),
    "adult": lambda values: BooleanColumn(np.array([{None: -1}.get(v, v) for v in values], "i1")),
    "new": lambda values: BooleanColumn(np.array([{None: -1}.get(v, v) for v in values], "i1")),
    "genres": list_column,
    "released": lambda values: DateColumn(np.array([{None: NO_DATE}.get(v, v) for v in values])),
}


def attributes_of(items: Sequence[Item]) -> Attributes:
    return Attributes({name: make([it[name] for it in items]) for name, make in COLUMNS.items()})


@settings(max_examples=500, deadline=None)
@given(
    written=st.one_of(truths(), comparisons(), memberships(), numbers()),
    items=ITEMS,
    data=st.data(),
)
def test_what_is_computed_for_all_items_is_what_python_makes_of_each(
    written: Written, items: list[dict[str, Any]], data: st.DataObject
) -> None:
    text, meaning = written
    known = [{**item, "id": f"i{number}"} for number, item in enumerate(items)]
    expected = [meaning(item) for item in known]
    attributes = attributes_of(known)
    catalogue = Identifiers.of([item["id"] for item in known])
    lists = {name: NamedList(texts) for name, texts in LISTS.items()}
    expression = parse(text)
    kind = expression.check(attributes, lists)
    found = expression.evaluate(attributes, lists, catalogue, today=TODAY)
    if kind == "boolean":
        assert found.dtype == np.bool_
        assert found.tolist() == expected
    else:
        assert kind == "number"
        assert found.dtype == np.float64
        np.testing.assert_allclose(
            found, [math.nan if each is None else each for each in expected], rtol=1e-12
        )
    some = data.draw(st.lists(st.integers(0, len(known) - 1)))
    few = expression.at(np.array(some, np.int32), attributes, lists, catalogue, today=TODAY)
    assert few.dtype == found.dtype
    np.testing.assert_array_equal(few, found[some])
    assert expression.uses_today == ("today" in text)


FILMS: Final = Attributes(
    {
        "genres": list_column([["Comedy"], ["Drama", "Comedy"], []]),
        "year": NumberColumn(np.array([1990.0, 1980, np.nan])),
        "adult": BooleanColumn(np.array([1, 0, -1], np.int8)),
        "brand": text_column(["a", "b", None]),
        "released": DateColumn(np.array([0, TODAY, NO_DATE])),
        "id": text_column(["x", "y", "z"]),
        "today": NumberColumn(np.array([1.0, 2, 3])),
        "date": NumberColumn(np.array([1.0, 2, 3])),
    }
)
IDS: Final = Identifiers.of(["i0", "i1", "i2"])
NAMED: Final = {"recalled": NamedList(["i1", "b"])}


def value_of(text: str) -> list[Any]:
    found: list[Any] = parse(text).evaluate(FILMS, NAMED, IDS).tolist()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Comedy" in genres and year >= 1985 and not (brand == "b")', [True, False, False]),
        # What binds how: not, and, or; and * before +.
        ("true or false and false", [True] * 3),
        ("not false and false", [False] * 3),
        ("1 + 2 * 3 - 4 / 2 == 5", [True] * 3),
        ("10 - 3 - 2 == 5", [True] * 3),
        ("-year < 0", [True, True, False]),
        ("not adult", [False, True, True]),
        ("adult == false", [False, True, False]),
        ("adult != true", [False, True, False]),
        ("year != 1990", [False, True, False]),
        ("not (year == 1990)", [False, True, True]),
        ("year/0 == year/0", [False] * 3),
        ('brand < "b"', [True, False, False]),
        ('brand <= "b"', [True, True, False]),
        ('brand > "a"', [False, True, False]),
        ('brand >= "0"', [True, True, False]),
        ('brand != "0"', [True, True, False]),
        ('"\\u00e9\\ud83d\\ude00\\n" == brand', [False] * 3),
        ("'a' == brand", [True, False, False]),
        ('`id` == "y"', [False, True, False]),
        ('id == "y"', [False] * 3),
        ("`today` >= 2 and date < 3", [False, True, False]),
        ("released <= today and released + 1 > date('1970-01-02')", [False, True, False]),
        ("brand\n in\t[ 'a' , 'b' ]", [True, True, False]),
        ("id in @recalled or brand in @recalled", [False, True, False]),
        (".5e1 == 5.", [True] * 3),
        ("(" * 2000 + "adult" + ")" * 2000, [True, False, False]),
    ],
)
def test_examples(text: str, expected: list[bool]) -> None:
    assert value_of(text) == expected


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("year = 1990", 6, "'=' cannot be read; compare with =="),
        ("adult && true", 7, "'&' cannot be read; write `and`"),
        ("year ==", 8, "it ends too early; expected a value"),
        ("", 1, "it ends too early"),
        ("1990 <= year < 2000", 14, "found '<', .*join two comparisons with `and`"),
        ("(adult", 7, r"ends too early; expected .*\)"),
        ("adult)", 6, r"found '\)', expected .*the end"),
        ("'abc", 1, "the text does not end"),
        ("year 3", 6, "found '3', expected a comparison such as ==, in, "),
        ("year in (1, 2)", 9, r"found '\(', expected .*a list such as @name or \["),
        ("adult and genre == 1", 11, "no attribute 'genre'. Did you mean genres?.*--attributes g"),
        ("adult and zzz == 1", 11, "no attribute 'zzz'. It has genres, year,"),
        ('"x" in brand', 8, "brand is a text, and `in` takes a list"),
        ("brand in genres", 1, "must be a text"),
        ("brand in today", 10, "`in` takes a list"),
        ("year == '1990'", 1, "a number is compared with a text by =="),
        ("released > '2026-01-01'", 1, r'a date .* date\("2026-01-31"\)'),
        ("genres == 'Comedy'", 1, 'a list is compared .* ask a list by `"…" in` its name'),
        ("genres in ['Comedy']", 1, "a list is asked by"),
        ("adult > true", 1, "a boolean cannot be compared by >"),
        ("id < 'x'", 1, "ids are compared by == and !="),
        ("brand == `id`", 1, "compare an attribute with a text"),
        ("'a' == 'a'", 1, "compare an attribute with a text"),
        ("'a' in ['a']", 1, "an attribute is looked for in a list"),
        ("adult in [1]", 1, "an attribute is looked for in a list"),
        ("brand in [1]", 11, "a number is in a list where a text is looked for"),
        ("year in [year]", 10, "a list is written of texts, numbers or dates"),
        ("brand in @recaled", 10, "no list @recaled; did you mean @recalled?.*--rules"),
        ("brand in @zzz", 10, "no list @zzz; there are: @recalled"),
        ("year in @recalled", 1, "a list of texts, and this is a number"),
        ("not year", 5, "this is a number, and `not` takes what is true or false"),
        ("adult and year", 11, "this is a number, and `and` takes"),
        ("-adult", 2, "this is a boolean, and `-` takes a number"),
        ("+year", 1, "without a sign"),
        ("year + brand", 8, r"\+ of a number and a text"),
        ("1 - released", 5, "- of a number and a date"),
        ("knwn(year)", 1, "no function knwn; did you mean known?"),
        ("eval(year)", 1, "no function eval; there are date, known"),
        ("date(year)", 1, "date takes a text"),
        ("known(id)", 1, "known takes the name of an attribute"),
        ("date('2026-02-30')", 6, "'2026-02-30' is no date; write one as"),
        ("1e999", 1, "the number is too large"),
        ("'\\ud83d' == brand", 1, "half a character"),
        ("__import__('os')", 1, "no function __import__"),
        ("year.real", 5, "found|cannot be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"(?s)^the expression is wrong at column {column}: .*"
                       f"{message}"):  # fmt: skip
        value_of(text)


@pytest.mark.parametrize("text", ["brand", "genres", "released", "today"])
def test_a_whole_expression_is_true_or_false_or_a_number(text: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'{text}' is a .*; write one that is true or false"):
        value_of(text)


@pytest.mark.parametrize("of", ["not {}", "-({}) == 1", "{} and true", "1 + {} == 2", "({})"])
def test_depth_is_bounded_and_parentheses_take_none(of: str) -> None:
    text = "year" if of[0] in "-1" else "adult"
    for _ in range(DEEPEST + 10):
        text = of.format(text).replace(" == 1", "").replace(" == 2", "")
        if " and " in text:
            text = f"not ({text})"
    if of == "({})":
        value_of(text)
        return
    with pytest.raises(InvalidRequest, match="more than 50 parts lie in one another"):
        parse(text)


def test_length_is_bounded_in_bytes() -> None:
    longest = f"brand == '{'é' * ((LONGEST - 11) // 2)}'"
    assert LONGEST - 1 <= len(longest.encode()) <= LONGEST
    value_of(longest)
    with pytest.raises(InvalidRequest, match=r"has 16,38\d bytes, and at most 16,384 are read"):
        parse(longest + "  ")
    with pytest.raises(InvalidRequest, match=r"has 100,000 bytes"):
        parse("x" * 100_000)
    with pytest.raises(InvalidRequest, match="no UTF-8 text"):
        parse("'\ud83d'")


@settings(deadline=None)
@given(st.text(st.sampled_from("\"'\\`@()[],+-*/=<>! aintodr1.é\n"), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        value_of(text)
    except InvalidRequest as error:
        assert "expression" in str(error)  # noqa: PT017


def test_many_in_a_row_are_not_deep() -> None:
    assert value_of(" or ".join(["year == 1980"] * 1000)) == [False, True, False]


def test_an_expression_is_parsed_once() -> None:
    assert parse("year > 1 and adult") is parse("year > 1 and adult")
    assert parse("year > 1 and adult") is not parse("year > 2 and adult")


def test_one_expression_holds_for_other_catalogues() -> None:
    """What a part remembers of a vocabulary is of this one."""
    expression = parse("brand == 'b' or brand in ['b'] or 'b' in tags or brand in @b")
    for brands in (["b", "a"], ["c", "b"], [None, "a"]):
        attributes = Attributes({"brand": text_column(brands), "tags": list_column([[], []])})
        found = expression.evaluate(attributes, {"b": NamedList(["b"])}, Identifiers.of(["1", "2"]))
        assert found.tolist() == [brand == "b" for brand in brands]


def test_lark_is_imported_with_the_first_expression() -> None:
    code = (
        "import sys; from model_repository.core.policy import expressions, filters; "
        "assert 'lark' not in sys.modules; expressions.parse('1'); assert 'lark' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
