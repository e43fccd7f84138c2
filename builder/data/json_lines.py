"""JSON lines, one object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from builder.data.dialect import Dialect
from builder.data.problems import Problems
from builder.data.rows import TEXT, Batch, TextFile, kept, pick
from builder.data.sources import Source, TextSource

JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")

_BATCH_ROWS: Final = 1 << 14
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda _: None)


def scan_json_lines(
    source: Source,
    dialect: Dialect,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
) -> TextFile | None:
    """Read JSON lines, see `builder.data.files.scan`."""
    path = source.path
    text = TextSource.of(source, dialect.encoding, dialect.other_encoding, problems)
    if text is None:
        return None
    names: dict[str, None] = {}
    faults: dict[str, Problems] = {}
    nested: set[str] = set()
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []

    def flush() -> None:
        columns = {}
        for name in kept(names, wanted):
            values = [row.get(name) for row in rows]
            if any(map(_is_nested, values)):
                nested.add(name)
            columns[name], found = _texts(values, path, numbers, name)
            if found is not None:
                faults.setdefault(name, Problems()).take(found)
        take(Batch(len(rows), columns))
        rows.clear()
        numbers.clear()

    for line, content in _lines(text):
        row, fault = _json_object(content)
        if row is None:
            problems.add(
                "lines that are no JSON objects",
                f'{path}:{line}: {fault}; write one object a line, as in {{"id": "1"}}',
            )
            continue
        names.update((name, None) for name in row if _whole(name) == name)
        rows.append(row)
        numbers.append(line)
        if len(rows) == _BATCH_ROWS:
            flush()
    flush()
    if not names:
        problems.add("empty file", f"{path}:1: the file holds no row; fill it")
        return None

    return TextFile(path, list(names), partial(_places, text), faults, frozenset(nested))


def _places(text: TextSource, numbers: Sequence[int]) -> list[str]:
    good = (line for line, content in _lines(text) if _json_object(content)[0] is not None)
    return pick(good, numbers)


def _lines(text: TextSource) -> Iterator[tuple[int, str]]:
    with text.open() as file:
        yield from ((n, line) for n, line in enumerate(file, start=1) if not line.isspace())


def plain_text(value: Any) -> str:
    """Text of a JSON value: lists join with spaces, null is nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(filter(None, map(plain_text, value)))
    if isinstance(value, bool | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _json_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return the object, or None and what the text is instead."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        return None, f"not valid JSON ({error.msg} at character {error.pos + 1})"
    except RecursionError:
        return None, "nested too deeply to be read"
    return (value, "") if isinstance(value, dict) else (None, "not a JSON object")


def _is_nested(value: Any) -> bool:
    """Whether there are objects in a value."""
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_is_nested, value)))


def _texts(
    values: list[Any], path: Path, numbers: list[int], name: str
) -> tuple[pa.Array, Problems | None]:
    """The texts of values, with ``?`` for halves of characters, which are no Unicode text."""
    texts = list(map(plain_text, values))
    try:
        return pa.array(texts, TEXT), None
    except UnicodeEncodeError:
        whole = list(map(_whole, texts))
    faults = Problems()
    for number, before, after in zip(numbers, texts, whole, strict=True):
        if before != after:
            faults.add(
                "halves of characters",
                f"{path}:{number}: {name}: half of a character, as \\ud83d is by itself; write "
                "the whole character, or remove it",
            )
    return pa.array(whole, TEXT), faults


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()
