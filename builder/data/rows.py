"""What every kind of file is read into: columns of text, and where their rows stand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from builder.data.problems import SHOWN_PER_KIND, Problems

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

TEXT: Final = pa.large_string()
MISSING: Final = frozenset(
    ("", "NULL", "null", r"\N", "NaN", "nan", "NaT", "None", "NA", "N/A", "n/a", "#N/A", "<NA>")
)
"""What stands for a missing value, as in pandas and in the dumps of databases."""
UNIT_SEPARATOR: Final = "\x1f"  # ASCII's own for values, which no text has


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file, which follow on those of the batch before.

    Attributes
    ----------
    rows
        How many.
    columns
        Those asked for: large strings without nulls, an empty one for a missing value. Of JSON
        lines, only those that some row had up to here.
    share
        How much of the file was read up to here, from 0 to 1; 0 where that is not known.
    """

    rows: int
    columns: dict[str, pa.Array]
    share: float = 0.0


@dataclass(frozen=True, eq=False)
class TextFile:
    """What is known of a file once it was read.

    Attributes
    ----------
    path
        The file.
    names
        Every column that the file has.
    places
        Maps row numbers (from 0, ascending) to what a person looks for in the file: ``"17"`` for
        line 17, or ``"row 16"`` where a file has no lines.
    faults
        By column, values that are no text. They do not matter in a column that nobody uses.
    nested
        Columns that are no text of an item unless they are named: those with objects in them,
        which are read as JSON, and what a log says of events and not of items.
    unread
        Columns of bytes that are no text, and were not read.
    lists
        Columns whose values are lists; as text, they are joined as `Dialect.apart` says.
    """

    path: Path
    names: list[str]
    places: Callable[[Sequence[int]], list[str]]
    faults: Mapping[str, Problems] = field(default_factory=dict)
    nested: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()

    def check(self, columns: Collection[str], problems: Problems) -> None:
        """Report the values of these columns that are no text."""
        for name in self.names:
            if name in columns and name in self.faults:
                problems.take(self.faults[name])
            if name in columns and name in self.unread:
                problems.add(
                    "columns that hold no text",
                    f"{self.path}: {name}: this column holds bytes that are no text, such as "
                    "pictures; leave it out, or write it as text",
                )

    def has(self, column: str, role: str, problems: Problems) -> bool:
        """Whether the file has this column, which is reported where it does not."""
        if column in self.names:
            return True
        advice = f"name it with --column {role}=NAME, one of {', '.join(self.names)}"
        if len(self.names) == 1:
            advice += ", or give what separates the columns with --separator"
        if any(map(is_number, self.names)):
            advice += (
                ", or give the names with --columns, --item-columns or --user-columns if the file "
                "has no header"
            )
        problems.add(
            "missing columns", f"{self.path}:1: {column}: there is no such column; {advice}"
        )
        return False

    def report(
        self,
        problems: Problems,
        kind: str,
        rows: Sequence[int] | NDArray[np.int64],
        column: str,
        describe: Callable[[int], str],
        count: int | None = None,
    ) -> None:
        """Record a problem in each of these rows (ascending), worded by ``describe(row)``.

        Where ``rows`` are only the first of them, ``count`` says how many there are.
        """
        shown = [int(row) for row in rows[:SHOWN_PER_KIND]]
        if shown:
            messages = [
                f"{self.path}:{place}: {column}: {describe(row)}"
                for row, place in zip(shown, self.places(shown), strict=True)
            ]
            problems.add_all(kind, messages, len(rows) if count is None else count)


@dataclass(frozen=True, eq=False)
class TextTable(TextFile):
    """A file as columns of text.

    Attributes
    ----------
    columns
        The columns asked for: large strings without nulls, an empty one for a missing value.
    """

    columns: dict[str, pa.ChunkedArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def numbered(count: int) -> list[str]:
    """Names for columns that have none."""
    return [f"column_{number}" for number in range(1, count + 1)]


def is_missing(text: str) -> bool:
    """Whether this stands for a missing value."""
    return text in MISSING


def is_number(text: str) -> bool:
    """Whether this is a number, without a sign."""
    return text.replace(".", "", 1).isdigit()


def kept(names: Iterable[str], wanted: Collection[str] | None) -> list[str]:
    """Those of the names that are wanted; None wants all."""
    return [name for name in names if wanted is None or name in wanted]


def pick(values: Iterable[object], numbers: Sequence[int]) -> list[str]:
    """The values at these positions, which ascend, as text."""
    wanted = set(numbers)
    last = max(numbers, default=-1)
    found: list[str] = []
    for position, value in enumerate(values):
        if position in wanted:
            found.append(str(value))
        if position >= last:
            break
    return found


def check_header(path: Path, names: list[str], problems: Problems) -> bool:
    """Whether there are columns, each of a name of its own; reported where not."""
    if not names:
        problems.add("empty file", f"{path}:1: the file is empty; it needs a header and rows")
        return False
    twice = sorted({name for name in names if names.count(name) > 1})
    for name in twice:
        problems.add(
            "columns of the same name",
            f"{path}:1: {name}: several columns have this name; rename all but one",
        )
    return not twice
