"""The objects of a JSON file as columns of text."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from builder.data.dialect import Dialect
from builder.data.json_objects import objects
from builder.data.problems import NO_OBJECT, Problems
from builder.data.rows import TEXT, UNIT_SEPARATOR, Batch, TextFile, kept, pick
from builder.data.sources import Source, TextSource

JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")

_BATCH_ROWS: Final = 1 << 14


def scan_json(
    source: Source,
    dialect: Dialect,
    wanted: Collection[str] | None,
    problems: Problems,
    take: Callable[[Batch], None],
) -> TextFile | None:
    """Read JSON, see `builder.data.files.scan`."""
    path = source.path
    text = TextSource.of(source, dialect.encoding, dialect.other_encoding, problems)
    if text is None:
        return None
    names: dict[str, None] = {}
    faults: defaultdict[str, Problems] = defaultdict(Problems)
    nested: set[str] = set()
    lists: set[str] = set()
    rows: list[dict[str, Any]] = []
    found_at: list[str] = []

    def flush() -> None:
        columns = {}
        for name in kept(names, wanted):
            values: list[Any] = [row.get(name) for row in rows]
            _note_kinds(name, values, lists, nested)
            if set(map(type, values)) != {str}:
                between = UNIT_SEPARATOR if name in dialect.apart else " "
                values = [plain_text(value, between) for value in values]
            columns[name] = _as_unicode(values, path, found_at, name, faults[name])
        take(Batch(len(rows), columns, source.share()))
        rows.clear()
        found_at.clear()

    for found in objects(text, dialect.key):
        row = found.value
        if row is None:
            problems.add(NO_OBJECT, f"{path}:{found.place}: {found.problem}")
            continue
        _add_names(row, names)
        rows.append(row)
        found_at.append(found.place)
        if len(rows) == _BATCH_ROWS:
            flush()
    flush()
    if not names:
        problems.add("empty file", f"{path}:1: the file holds no row; fill it")
        return None

    def places(numbers: Sequence[int]) -> list[str]:
        good = (each.place for each in objects(text, dialect.key) if each.value is not None)
        return pick(good, numbers)

    wrong = {name: found for name, found in faults.items() if len(found)}
    return TextFile(
        path,
        list(names),
        places,
        wrong,
        frozenset(nested),
        lists=frozenset(lists - nested),
    )


def plain_text(value: Any, between: str = " ") -> str:
    """Text of a JSON value, null is nothing; ``between`` stands between the values of a list."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return between.join(filter(None, map(plain_text, _leaves(value))))
    if isinstance(value, bool | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _add_names(row: dict[str, Any], names: dict[str, None]) -> None:
    if not row.keys() <= names.keys():
        names.update((name, None) for name in row if _whole(name) == name)


def _note_kinds(name: str, values: list[Any], lists: set[str], nested: set[str]) -> None:
    """Add a column to those that hold lists, or objects, also in lists, where it does."""
    kinds = set(map(type, values))
    if dict in kinds:
        nested.add(name)
    if list in kinds:
        lists.add(name)
        held = (value for value in values if isinstance(value, list))
        if name not in nested and any(isinstance(v, dict) for one in held for v in _leaves(one)):
            nested.add(name)


def _leaves(values: list[Any]) -> Iterator[Any]:
    """What is in a list and in its lists, which may be deeper than Python's calls may be."""
    stack = [iter(values)]
    while stack:
        for value in stack[-1]:
            if isinstance(value, list):
                stack.append(iter(value))
                break
            yield value
        else:
            stack.pop()


def _as_unicode(
    texts: list[str], path: Path, places: list[str], name: str, faults: Problems
) -> pa.Array:
    """Texts with ``?`` for halves of characters, which are no Unicode text."""
    try:
        return pa.array(texts, TEXT)
    except UnicodeEncodeError:
        whole = list(map(_whole, texts))
    for place, before, after in zip(places, texts, whole, strict=True):
        if before != after:
            faults.add(
                "halves of characters",
                f"{path}:{place}: {name}: half of a character, as \\ud83d is by itself; write "
                "the whole character, or remove it",
            )
    return pa.array(whole, TEXT)


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()
