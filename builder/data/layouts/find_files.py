"""Finds the log, the item file and the user file of a directory: by their names, or by content."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from builder.data.config import DataConfig
from builder.data.delimited import RECBOLE_SUFFIXES
from builder.data.dialect import Dialect
from builder.data.files import TABLE_SUFFIXES, load, scan
from builder.data.layouts.headers import how_to_name, how_to_name_items
from builder.data.layouts.known import FORMATS, KnownFormat
from builder.data.layouts.named_files import (
    check_named_logs,
    faults_of_named_items,
    is_named_as_log,
)
from builder.data.layouts.peek import Peek, peek
from builder.data.layouts.roles import (
    TITLES,
    is_log,
    is_of_users,
    item_key,
    item_of,
    plain,
    roles_of,
)
from builder.data.parts import part_files
from builder.data.problems import UNREADABLE_FILE, Problems
from builder.data.rows import is_number
from builder.data.sources import COMPRESSED_SUFFIXES, suffix_of
from builder.errors import DataError

_LOOSE: Final = (*COMPRESSED_SUFFIXES, ".txt", ".dat", "")
_NOTES: Final = ("readme", "license", "licence", "copying", "checksum", "makefile")
_SHOWN: Final = 20
_UNPACK: Final = (".zip", ".tar", ".tgz", ".7z", ".rar", ".xlsx", ".xls")
_BLOCK: Final = re.compile(r"\d+:$")
_PARTS: Final = re.compile(r"""[^\s,;|\x1f\[\]{}"':]+""")
_MANY: Final = 0.5
"""Share of the items that the best file has, from which on what a file tells of them counts."""

log = logging.getLogger(__name__)


def files_of(directory: Path, patterns: Sequence[str]) -> list[Path]:
    """The files of these names, compressed or not, and directories of files with rows.

    Notes beside ``items.csv`` may be named ``items.txt``, and a copy ``items.csv.gz``.
    """
    endings = ("", *COMPRESSED_SUFFIXES)
    found = {
        path
        for pattern in patterns
        for ending in endings
        for path in directory.glob(pattern + ending)
    }
    files = sorted(path for path in found if _has_rows(path))
    certain = [path for path in files if path.suffix.lower() not in _LOOSE]
    return certain or files


def find_by_name(config: DataConfig, known: KnownFormat) -> dict[str, Path | None]:
    """Role → the file that the user named, or the one of the format's name; None: there is none.

    Raises
    ------
    DataError
        A named file that is not there, or several that could be meant.
    """
    problems = []
    roles: dict[str, Path | None] = {}
    for role, patterns in known.files.items():
        name: str | None = getattr(config, role)
        if name is not None:
            roles[role] = config.directory / name
            if not _has_rows(config.directory / name):
                problems.append(f"{roles[role]}: no such file; {_listing(config.directory)}")
            continue
        found = files_of(config.directory, patterns)
        roles[role] = found[0] if found else None
        if len(found) > 1:
            problems.append(_several(config, role, found))
    if problems:
        raise DataError("\n".join(problems))
    return roles


def find_by_content(
    config: DataConfig, dialect: Dialect, named: Mapping[str, Path | None], known: KnownFormat
) -> dict[str, Path | None]:
    """The same, where the log or the item file is found by its columns.

    Where no file has items, the log is the item file too.

    Raises
    ------
    DataError
        No file is the log, or several could be; or none has the items, and one cannot be read.
    """
    taken = {path for path in named.values() if path is not None}
    if not taken:
        _check_not_above(config.directory, dialect)
    candidates = [path for path in _candidates(config.directory) if path not in taken]
    peeks = [peek(path, dialect) for path in candidates]
    others = [each for each in peeks if each is not None]
    logs = named["interactions"]
    if logs is None:
        named_items = named["items"] and peek(named["items"], dialect)
        if named_items and not any(is_log(each, config.columns) for each in others):
            others.append(named_items)  # which may be the log too
        if not any(is_log(each, config.columns) for each in others):
            check_named_logs(config.directory, candidates, others, dialect)
            read = {each.path for each in others}
            _report_unreadable([path for path in candidates if path not in read], dialect)
        first = _log(config, known, others)
        others.remove(first)
    else:
        first = peek(logs, dialect) or Peek(logs, {})
    items = named["items"]
    if items is None:
        faults = faults_of_named_items(candidates, [first, *others], dialect)
        items = _items(config, first, others, faults, dialect)
    if items is None:
        log.warning(
            "%s: no other file tells about the items of %s, so what it says of them is taken from "
            "it; name one, as in %s",
            config.directory,
            first.path.name,
            how_to_name_items(others) or "--items FILE",
        )
        items = first.path
    return {**named, "interactions": first.path, "items": items}


def _report_unreadable(paths: Sequence[Path], dialect: Dialect) -> None:
    """Raise a DataError where files are damaged: one of them may be the log."""
    problems = Problems()
    for path in paths:
        scan(path, (), problems, lambda _: None, dialect)
    problems.moved((UNREADABLE_FILE,)).raise_if_any()


def _check_not_above(directory: Path, dialect: Dialect) -> None:
    """Raise DataError where all there is lies in one folder below, with other files than parts."""
    below = directory
    while len(found := [path for path in below.iterdir() if not path.name.startswith(".")]) == 1:
        if not found[0].is_dir():
            break
        below = found[0]
    if below == directory:
        return
    peeks = [each for path in _candidates(below) if (each := peek(path, dialect)) is not None]
    logs = [is_log(each) > 0 for each in peeks]
    of_a_format = any(
        files_of(below, known.files["interactions"]) and files_of(below, known.files["items"])
        for known in FORMATS.values()
    )
    if of_a_format or (any(logs) and not all(logs)):
        raise DataError(
            f"{directory}: all that it holds is in a folder below it; did you mean {below}? give "
            "that"
        )


def _log(config: DataConfig, known: KnownFormat, peeks: Sequence[Peek]) -> Peek:
    roles = [is_log(each, config.columns) for each in peeks]
    most = max(roles, default=0)
    best = [each for each, count in zip(peeks, roles, strict=True) if most and count == most]
    if len(best) == 1:
        return best[0]
    if best:
        raise DataError(_several(config, "interactions", [each.path for each in best]))
    raise DataError(
        f"{config.directory}: no file for the interactions (looked for "
        f"{known.files['interactions'][0]} and the like, and for columns of users and items); "
        f"{_listing(config.directory)}; {_advice(config.directory, peeks)}"
    )


def _advice(directory: Path, peeks: Sequence[Peek]) -> str:
    """What makes a log of the files of a directory."""
    packed = [path.name for path in sorted(directory.iterdir()) if path.suffix in _UNPACK]
    folders = [path for path in sorted(directory.iterdir()) if path.is_dir()]
    blocks = [each.path.name for each in peeks if _has_blocks(each)]
    if blocks:
        return (
            f"{blocks[0]} has rows in blocks below lines such as 1:, so write that number into "
            'each row, as awk \'/:$/ {sub(":", ""); item = $0; next} {print item "," $0}\' does, '
            "and give --columns item,user,rating,time"
        )
    advice = how_to_name(peeks)
    if advice is not None:
        return advice
    named = [each for each in peeks if not each.headless]
    if not named and packed:
        return f"unpack {packed[0]}, or save it as CSV"
    if not named and folders:
        return f"give a directory below it, as in {folders[0]}"
    best = max(named, key=lambda each: (is_named_as_log(each.path), roles_of(each)), default=None)
    if best is None:
        return "name it with --interactions"
    below = f"give {best.path} instead, or " if best.path.is_dir() else ""
    return (
        f"{below}if {best.path.name} is it, give --interactions {shlex.quote(best.path.name)} "
        "and its columns with --column user=NAME and --column item=NAME, of "
        f"{', '.join([*best.columns][:_SHOWN])}; users or items that only another file knows must "
        "be joined to it first"
    )


def _has_blocks(peek: Peek) -> bool:
    """Whether a file begins with a number and a colon, as those of the Netflix prize do."""
    return any(map(_BLOCK.match, (*peek.columns, *peek.columns.get("column_1", [])[:1])))


def _items(
    config: DataConfig, of_log: Peek, peeks: Sequence[Peek], faults: Problems, dialect: Dialect
) -> Path | None:
    """The file that has most of what tells about the items of a log.

    Raises
    ------
    DataError
        The ``faults`` of files that may be meant, where no other file has items of the log.
    """
    item = config.columns.item or item_of(of_log)
    fitting = [
        (each, key)
        for each in peeks
        if not (is_log(each) or each.headless or is_of_users(each))
        and (key := _key_of_items(each, config.columns.item_key, item)) is not None
    ]
    shared = [0] * len(fitting)
    if len(fitting) > 1 or len(faults):
        ids = _ids_in(of_log, item)
        shared = [len(ids & _all_values(each, key, dialect)) for each, key in fitting]
        if not any(shared):
            faults.raise_if_any()
    if not fitting:
        return None

    def fitness(place: int) -> tuple[bool, bool, bool, bool, int]:
        each, key = fitting[place]
        names = set(map(plain, each.columns))
        most = shared[place] >= _MANY * max(shared)
        of_item = plain(key) != "id"
        return most, bool(names & TITLES), plain(item or "") in names, of_item, len(names)

    best, *others = sorted(range(len(fitting)), key=fitness, reverse=True)
    items = fitting[best][0].path
    if others and not any(shared) and item not in of_log.lists:
        log.warning(
            "%s: neither %s nor any other file has the items with which %s begins; name the one "
            "that tells about them, as in --items %s",
            config.directory,
            items.name,
            of_log.path.name,
            shlex.quote(fitting[others[0]][0].path.name),
        )
    return items


def _ids_in(log: Peek, item: str | None) -> set[str]:
    """What the first rows of a log have for items; the parts too, which may be those of lists."""
    values = log.columns.get(item or "", ())
    return {part for value in values for part in (value, *_PARTS.findall(value))} - {""}


def _all_values(file: Peek, column: str, dialect: Dialect) -> set[str]:
    """All values of a column: the first items of a log may be anywhere in a file."""
    table = load(file.path, {column}, Problems(), dialect)
    return set() if table is None else set(table.columns[column].unique().to_pylist())


def _key_of_items(each: Peek, given: str | None, item: str | None) -> str | None:
    """The column with the ids of a file with more than numbers beside them; None: it has none.

    Ids that are given twice are a fault of an item file, which has a title, and usual elsewhere.
    """
    key = given or item_key(each, item)
    if key not in each.columns:
        return None
    ids = each.columns[key]
    has_title = not TITLES.isdisjoint(map(plain, each.columns))
    if given is None and len(set(ids)) < len(ids) and not has_title:
        return None
    others = (values for name, values in each.columns.items() if name != key)
    return key if any(not all(map(is_number, filter(None, v))) for v in others) else None


def _candidates(directory: Path) -> list[Path]:
    suffixes = {*TABLE_SUFFIXES, *RECBOLE_SUFFIXES}
    return [
        path
        for path in sorted(directory.iterdir())
        if not path.name.startswith((".", "_"))
        and not path.name.lower().startswith(_NOTES)
        and (path.is_dir() or suffix_of(path) in suffixes)
        and _has_rows(path)
    ]


def _has_rows(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and bool(part_files(path, TABLE_SUFFIXES)))


def _several(config: DataConfig, role: str, found: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in found)
    return (
        f"{config.directory}: several files could hold the {role} ({names}); name one of them "
        f"with --{role}, as in --{role} {shlex.quote(found[0].name)}, or, if they are parts of one "
        f"table, put them all into a folder {role}/ beside the others, which is read as one"
    )


def _listing(directory: Path) -> str:
    names = sorted(path.name for path in directory.iterdir())
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"the directory holds {shown or 'nothing'}"
