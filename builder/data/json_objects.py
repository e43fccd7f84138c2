"""The objects of a JSON file: one a line, all in one array, or all in one object by their ids.

Lines may be Python's dicts, as in the reviews of Amazon of 2014 and of Steam.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from itertools import starmap
from typing import Any, Final, NamedTuple

from builder.data.sources import TextSource

_TYPED: Final = frozenset(
    (
        *("$oid", "$date", "$uuid", "$numberLong", "$numberInt", "$numberDouble"),
        "$numberDecimal",
    )
)
"""Keys with which MongoDB writes what JSON has no type for, as in {"$oid": "5f80e194"}."""


def _untyped(value: dict[str, Any]) -> Any:
    """What an object of MongoDB stands for; other objects as they are."""
    if len(value) == 1 and (key := next(iter(value))) in _TYPED:
        return value[key]
    return value


_DECODER: Final = json.JSONDecoder(
    object_hook=_untyped, parse_int=str, parse_float=str, parse_constant=lambda _: None
)
_OBJECT: Final = 'write one object a line, as in {"id": "1"}'
_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_INNER: Final = 2  # how deep a value of the object is
_BROKEN: Final = (json.JSONDecodeError, RecursionError)


class Found(NamedTuple):
    """An object, or what is there instead of one and what to do about it.

    ``place`` is what a person looks for in the file: a line, or a row where lines mean nothing.
    """

    place: str
    value: dict[str, Any] | None
    problem: str = ""


def objects(text: TextSource, key: str | None) -> Iterator[Found]:
    """Read the objects of a file.

    Parameters
    ----------
    key
        Where the file is one object of others, its keys become the values of this column.
    """
    first = next(_lines(text), (0, ""))[1]
    start = first.lstrip()[:1]
    if start == "[" or (start == "{" and key is not None and not _is_row(text, first)):
        with text.open() as file:
            content = file.read()
        try:
            value = _DECODER.decode(content.lstrip())
        except _BROKEN as error:
            if start == "[":
                yield Found("1", None, f"{_fault(error, in_lines=False)}; correct it, or {_OBJECT}")
                return
        else:
            yield from _rows(value, key or "")
            return
    yield from starmap(_of_line, _lines(text))


def _lines(text: TextSource) -> Iterator[tuple[int, str]]:
    with text.open() as file:
        yield from ((n, line) for n, line in enumerate(file, start=1) if not line.isspace())


def _is_row(text: TextSource, first: str) -> bool:
    """Whether the first line is the object of a row, and not one of rows, whole or in part."""
    value = _of_line(1, first).value
    if value is None:
        return False
    alone = len([line for _, line in zip(range(2), _lines(text), strict=False)]) == 1
    return not (alone and value and all(isinstance(each, dict) for each in value.values()))


def _rows(value: Any, key: str) -> Iterator[Found]:
    if isinstance(value, dict):
        if not all(isinstance(each, dict) for each in value.values()):
            value = [value]  # one row over several lines
        else:
            value = [{key: name, **each} for name, each in value.items()]
    for number, each in enumerate(value, start=1):
        if isinstance(each, dict):
            yield Found(f"row {number}", each)
        else:
            yield Found(f"row {number}", None, f"not a JSON object; {_OBJECT}")


def _of_line(line: int, text: str) -> Found:
    try:
        value = _decoded(text)
    except _BROKEN as error:
        value = _literal(text)
        if value is None:
            return Found(str(line), None, f"{_fault(error, in_lines=True)}; {_OBJECT}")
    if isinstance(value, dict):
        return Found(str(line), value)
    return Found(str(line), None, f"not a JSON object; {_OBJECT}")


def _decoded(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        return _DECODER.decode(_without_inner(text))


def _without_inner(text: str) -> str:
    """An object with empty objects for all lists and objects in it, which are too deep."""
    parts, depth, start, end = [], 0, 0, 0
    for found in _BRACKET.finditer(text):
        if found[0] in ("[", "{"):
            depth += 1
            start = found.start() if depth == _INNER else start
        elif found[0] in ("]", "}"):
            if depth == _INNER:
                parts += [text[end:start], "{}"]
                end = found.end()
            depth -= 1
    return "".join([*parts, text[end:]])


def _literal(text: str) -> dict[str, Any] | None:
    """A dict as Python writes it, with its numbers as text; None if it is none."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else None


def _fault(error: Exception, *, in_lines: bool) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return "nested too deeply to be read"
    place = f"character {error.pos + 1}"
    if not in_lines:
        place = f"line {error.lineno:,}, character {error.colno:,}"
    return f"not valid JSON ({error.msg} at {place})"
