"""What is wrong with a file whose name says what it is, where no file reads as that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from builder.data.dialect import Dialect
from builder.data.files import scan
from builder.data.layouts.peek import Peek
from builder.data.problems import Problems
from builder.data.row_faults import of_all_rows

_LOG_NAMES: Final = re.compile(
    r"(?i)(^|[^a-z])(events?|interactions?|ratings?|logs?|clicks?|views?|orders?|purchases?"
    r"|transactions?|behaviou?rs?|history|sessions?)([^a-z]|$)"
)
_ITEM_NAMES: Final = re.compile(
    r"(?i)(^|[^a-z])(items?|products?|articles?|books?|movies?|films?|games?|songs?|tracks?|news"
    r"|catalog(ue)?s?|meta(data)?)([^a-z]|$)"
)


def is_named_as_log(path: Path) -> bool:
    """Whether the name of a file says that it is the log."""
    return _LOG_NAMES.search(path.name) is not None


def faults_of_named_items(
    candidates: Sequence[Path], peeks: Sequence[Peek], dialect: Dialect
) -> Problems:
    """The faults of the files that are named as an item file, and of which no row can be read.

    ``peeks`` are those of the ``candidates`` that can be read.
    """
    problems = Problems()
    read = {each.path for each in peeks if any(each.columns.values())}
    for path in candidates:
        if path not in read and _ITEM_NAMES.search(path.name) and not is_named_as_log(path):
            scan(path, None, problems, lambda _: None, dialect)
    return problems.reworded(of_all_rows)


def check_named_logs(
    directory: Path, candidates: Sequence[Path], peeks: Sequence[Peek], dialect: Dialect
) -> None:
    """Raise DataError with the faults of the files that are named as a log, if there are some.

    ``peeks`` are those of the ``candidates`` that can be read.
    """
    problems = Problems()
    links = [path for path in sorted(directory.iterdir()) if path.is_symlink()]
    for path in links:
        if is_named_as_log(path) and not path.exists():
            problems.add(
                "unreadable file",
                f"{path}: the link leads to {path.readlink()}, which is not there; put the file "
                "there",
            )
    read = {each.path: each for each in peeks}
    may_be_split = not any(each.headless and len(each.columns) > 1 for each in peeks)
    for path in filter(is_named_as_log, candidates):
        each = read.get(path)
        if each is None:
            scan(path, None, problems, lambda _: None, dialect)
        elif len(each.columns) == 1 and may_be_split:
            problems.add(
                "missing columns",
                f"{path}:1: nothing is found that separates its values, so it has one column, "
                f"{next(iter(each.columns))!r}; give what separates them with --separator",
            )
    problems.raise_if_any()
