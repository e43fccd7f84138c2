"""The rules directory: live attributes and named lists, in files that are read while they change.

It lies outside the versions of a model, whose files never change. ``attributes.csv`` has a column
``item_id`` and columns of attributes, each ``name`` or ``name:kind``. ``lists/NAME.txt`` has an id
or a value a line. A thread looks once a second whether a file is another one, reads all of them,
and puts what it made of them in place of what was, in one store. While a file is broken the last
good state stays.
"""

from __future__ import annotations

import csv
import io
import os
import re
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ..core.attribute_values import WrongValue, guessed_kind, named_kind, read_column
from ..core.attributes import SEPARATORS, Attributes, Column, ListColumn, absent_column
from ..core.catalogue import Catalogue
from ..core.policy.facts import Facts, FixedFacts, NamedList

RULES: Final = "TRITONREC_RULES"
"""The environment's name for the directory; unset or empty: there is none."""

ATTRIBUTES_FILE: Final = "attributes.csv"
LISTS: Final = "lists"
ITEM_ID: Final = "item_id"

_LOOK_EVERY: Final = 1.0
"""Seconds."""
_LIST_NAME: Final = re.compile(r"\w[\w.-]*")

Files = Mapping[Path, tuple[int, int, int]]


class BrokenRules(ValueError):  # noqa: N818  (it names a state of the files)
    """A file of the directory cannot be used; the message says which, where and why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the files of a directory say about a catalogue.

    Attributes
    ----------
    facts
        The version's attributes with those of the files in their place.
    rows, unknown
        How many items ``attributes.csv`` has, and how many of them the catalogue lacks.
    """

    facts: Facts
    rows: int
    unknown: int


class RulesDirectory:
    """Facts as of the files of a directory (a `FactsSource`).

    Parameters
    ----------
    exported
        What is known without the files.
    complain
        Is told, in words, what is wrong, once for each state of the files.
    note
        Is told by how much the number of broken directories grows, 1 or -1.
    """

    def __init__(
        self,
        directory: Path,
        exported: Facts,
        complain: Callable[[str], object],
        note: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._exported = exported
        self._complain = complain
        self._note = note
        self._seen: Files | None = None
        self._broken = ""
        self._facts = exported
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.look()

    def current(self) -> Facts:
        return self._facts

    def watch(self) -> None:
        """Look once a second, from a thread, until `close`."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Read the files if one is another than before.

        Whatever is raised, the rules stay as they were, and nothing ends who looks.
        """
        found = None
        try:
            found = files_of(self._directory)
            if found == self._seen:
                return
            rules = read_rules(self._directory, self._exported, self._facts.generation + 1)
            if files_of(self._directory) != found:
                return  # it was read while it changed
            self._facts = rules.facts
            broken = ""
        except (BrokenRules, OSError) as error:
            broken = f"{error}"
        except Exception as error:  # noqa: BLE001  (a fault of ours)
            broken = f"{self._directory}: {''.join(traceback.format_exception(error)).rstrip()}"
        self._seen = found
        if broken and broken != self._broken:
            self._complain(f"{broken}; the rules stay as they were")
        if bool(broken) != bool(self._broken):
            self._note(1 if broken else -1)
        self._broken = broken

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            self.look()


def files_of(directory: Path) -> Files:
    """The files of a directory that are read, and what tells whether one is another.

    Raises
    ------
    BrokenRules
        There is no such directory.
    """
    if not directory.is_dir():
        raise BrokenRules(f"there is no directory {directory}; make it, or name another")
    files = [directory / ATTRIBUTES_FILE, *sorted((directory / LISTS).glob("*.txt"))]
    found = {}
    for file in files:
        if file.exists():
            status = file.stat()
            found[file] = status.st_mtime_ns, status.st_size, status.st_ino
    return found


def read_rules(directory: Path, exported: Facts, generation: int) -> Rules:
    """Read all files.

    Raises
    ------
    BrokenRules
        A file is broken.
    OSError
        A file cannot be read.
    """
    lists = {}
    for file in files_of(directory):
        if file.suffix == ".txt":
            if not _LIST_NAME.fullmatch(file.stem):
                raise BrokenRules(f"{file}: name it by letters, digits, _, - and ., as in a.txt")
            lines = map(str.strip, _text(file).splitlines())
            lists[file.stem] = NamedList(list(dict.fromkeys(filter(None, lines))))
    attributes, rows, unknown = exported.attributes, 0, 0
    file = directory / ATTRIBUTES_FILE
    if file.exists():
        table = _table(file)
        found = exported.ids.indices([each.encode() for each in table[ITEM_ID]])
        rows, unknown = len(found), found.count(None)
        attributes = _overlaid(file, exported, table, found)
    return Rules(Facts(exported.ids, attributes, lists, generation), rows, unknown)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BrokenRules(
            f"{file} is no UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def _table(file: Path) -> dict[str, list[str]]:
    """The columns of a CSV file, each text by its line; line 2 is the first."""
    reader = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    try:
        header = next(reader, [])
        rows = []
        for row in reader:
            if len(row) != len(header) and row:
                raise BrokenRules(
                    f"{file}:{reader.line_num}: has {len(row)} values, and the first line names "
                    f"{len(header)} columns"
                )
            if row:
                rows.append(row)
    except csv.Error as error:
        raise BrokenRules(f"{file}:{reader.line_num}: {error}; write it as CSV") from None
    if ITEM_ID not in header or len(set(header)) < len(header):
        raise BrokenRules(
            f"{file}:1: name each column once, and one {ITEM_ID}; they are {', '.join(header)}"
        )
    table = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    ids = table[ITEM_ID]
    if len(set(ids)) < len(ids):
        ((twice, _),) = Counter(ids).most_common(1)
        raise BrokenRules(f"{file}: item {twice!r:.80} is there twice; keep one line of it")
    return table


def _overlaid(
    file: Path, exported: Facts, table: Mapping[str, list[str]], found: list[int | None]
) -> Attributes:
    """The attributes with the values of a table; an empty one leaves what was exported."""
    columns: dict[str, Column] = dict(exported.attributes.columns)
    for header, texts in table.items():
        if header == ITEM_ID:
            continue
        name, kind = named_kind(header)
        given = [
            (item, text)
            for item, text in zip(found, texts, strict=True)
            if item is not None and text.strip()
        ]
        values = [text for _, text in given]
        before = columns.get(name)
        if before is None:
            before = absent_column(kind or guessed_kind(values), len(exported.ids))
        if kind not in (None, before.kind):
            raise BrokenRules(
                f"{file}:1: {name} is named a {kind}, and was exported as a {before.kind}; "
                "leave the kind out"
            )
        try:
            # Never those of the file's rows: another row would change what this one says.
            separators = before.separators if isinstance(before, ListColumn) else SEPARATORS
            column = read_column(values, before.kind, separators)
        except WrongValue as error:
            item = exported.ids.strings[given[error.place][0]].decode()
            raise BrokenRules(f"{file}: {name} of item {item!r:.80} is wrong: {error}") from None
        items = np.array([item for item, _ in given], np.int32)
        columns[name] = before.replaced(items, column)  # type: ignore[arg-type]
    return Attributes(columns)


def watch_rules(
    catalogue: Catalogue,
    complain: Callable[[str], object],
    note: Callable[[int], object] = lambda _: None,
    environment: Mapping[str, str] = os.environ,
) -> FixedFacts | RulesDirectory:
    """The facts of a server: those of the version, and of the directory that `RULES` names.

    ``complain`` and ``note`` are those of `RulesDirectory`.
    """
    exported = FixedFacts(catalogue)
    directory = environment.get(RULES)
    if not directory:
        return exported
    found = RulesDirectory(Path(directory), exported.current(), complain, note)
    found.watch()
    return found


def load_facts(catalogue: Catalogue, model: str, version: str) -> FixedFacts | RulesDirectory:
    """The same in Triton, with a metric and what the log has to be told."""
    import triton_python_backend_utils as pb_utils

    from .server_metrics import Counters

    broken = Counters(
        model,
        version,
        {"tritonrec_rules_broken": "Number of processes that keep earlier rules, see the log"},
        gauge=True,
    )
    return watch_rules(
        catalogue,
        lambda said: pb_utils.Logger.log_error(f"{model}: {said}"),
        broken.increment,
    )
