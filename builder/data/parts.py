"""A table in several files of one directory, as Spark and Hugging Face ``datasets`` write it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Final

from builder.data.json_files import JSON_SUFFIXES
from builder.data.problems import Problems
from builder.data.rows import Batch, TextFile
from builder.data.sources import suffix_of

_OF_NOTES: Final = ("", ".txt", ".json")


def part_files(directory: Path, suffixes: Collection[str]) -> list[Path]:
    """The files with rows in a directory and those below, by name.

    Files of one suffix, the most frequent: beside the rows stand notes and checksums. Hidden ones,
    and those that begin with ``_``, are none.
    """
    files = [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        and suffix_of(path) in suffixes
        and not any(part.startswith((".", "_")) for part in path.relative_to(directory).parts)
    ]
    kinds = [suffix_of(path) for path in files]
    usual = max(kinds, key=lambda kind: (kind not in _OF_NOTES, kinds.count(kind)), default=None)
    return [path for path, kind in zip(files, kinds, strict=True) if kind == usual]


def scan_parts(
    directory: Path,
    parts: Sequence[Path],
    take: Callable[[Batch], None],
    scan: Callable[[Path, Callable[[Batch], None]], TextFile | None],
    problems: Problems,
) -> TextFile | None:
    """Read parts one after the other; ``scan`` reads one of them and gives its rows to ``take``."""
    files: list[TextFile] = []
    rows: list[int] = []

    def count(batch: Batch) -> None:
        rows[-1] += batch.rows
        take(replace(batch, share=(len(rows) - 1 + batch.share) / len(parts)))

    for part in parts:
        rows.append(0)
        file = scan(part, count)
        if file is None:
            return None
        # Objects of JSON lack the keys for which they have nothing.
        if files and file.names != files[0].names and suffix_of(part) not in JSON_SUFFIXES:
            problems.add(
                "parts with other columns",
                f"{part}:1: the columns are {', '.join(file.names)}, but those of "
                f"{files[0].path.name} are {', '.join(files[0].names)}; write the files alike",
            )
            return None
        files.append(file)
    if not files:
        problems.add("empty file", f"{directory}: the directory holds no files with rows; fill it")
        return None
    ends = list(accumulate(rows))

    def places(numbers: Sequence[int]) -> list[str]:
        found = []
        for number in numbers:
            part = bisect_right(ends, number)
            place = files[part].places([number - ends[part] + rows[part]])[0]
            found.append(f"{files[part].path.relative_to(directory)}:{place}")
        return found

    faults = [each.faults for each in files]
    together = {name: Problems() for each in faults for name in each}
    for each in faults:
        for name, found in each.items():
            together[name].take(found)
    return replace(
        files[0],
        path=directory,
        names=list(dict.fromkeys(name for each in files for name in each.names)),
        places=places,
        faults=together,
        nested=frozenset().union(*(each.nested for each in files)),
        unread=frozenset().union(*(each.unread for each in files)),
        lists=frozenset().union(*(each.lists for each in files)),
    )
