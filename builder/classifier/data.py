"""Labelled texts: read from a file, checked, split for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.classifier.checkpoint import Pair
from builder.data.dialect import ANY_DIALECT, Dialect
from builder.data.files import TABLE_SUFFIXES, TextTable, load
from builder.data.problems import Problems
from builder.data.sources import suffix_of

SPLITS: Final = ("train", "validation", "test")
SHARES: Final = (0.8, 0.1, 0.1)
_COLUMNS: Final = ("text", "text_pair", "label", "split")
_FEWEST: Final = len(SPLITS)
"""Examples of a label without which some split would have none."""


@dataclass(frozen=True)
class Examples:
    """Texts or pairs, and INT64 [n] indices into the data set's labels."""

    pairs: Sequence[Pair]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pairs)

    def rows(self, chosen: NDArray[np.int64]) -> Examples:
        return Examples([self.pairs[row] for row in chosen], self.labels[chosen])


@dataclass(frozen=True)
class LabelledTexts:
    """A data set.

    Attributes
    ----------
    labels
        Their names; numbers in their order, else by alphabet.
    train, validation, test
        Every label is in each.
    """

    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples

    def repeated(self) -> int:
        """Examples of the test split whose very text is in the training split too."""
        known = set(self.train.pairs)
        return sum(pair in known for pair in self.test.pairs)


def read_labelled_texts(path: Path, seed: int, dialect: Dialect = ANY_DIALECT) -> LabelledTexts:
    """Read ``text[,text_pair],label[,split]`` and split it.

    The column ``split`` (train, validation or test) decides where there is one. Otherwise each
    label is divided 80 : 10 : 10 at random, by `seed`.

    Raises
    ------
    DataError
        Every problem of the file, with line and column.
    """
    problems = Problems()
    table = load(path, _COLUMNS, problems, dialect) if _known(path, problems) else None
    problems_of_file = len(problems)
    if table is not None:
        for name in ("text", "label"):
            if name not in table.columns:
                problems.add(
                    "missing columns",
                    f"{path}:1: there is no column {name!r} among {', '.join(table.names)}; add "
                    "it, or rename the column that holds it",
                )
    if table is None or len(problems) > problems_of_file:
        problems.raise_if_any()
    assert table is not None
    columns = {name: column.to_pylist() for name, column in table.columns.items()}
    _check_rows(table, columns, problems)
    names = _label_names(columns["label"])
    if len(names) < 2:
        problems.add(
            "labels", f"{path}: label: {len(names)} different labels; a classifier needs 2 or more"
        )
    problems.raise_if_any()
    index = {name: place for place, name in enumerate(names)}
    pairs = list(zip(columns["text"], columns.get("text_pair", [""] * len(table)), strict=True))
    labels = np.array([index[name] for name in columns["label"]], np.int64)
    places = (
        _given_splits(path, names, labels, columns["split"], problems)
        if "split" in columns
        else _drawn_splits(path, names, labels, seed, problems)
    )
    problems.raise_if_any()
    examples = Examples(pairs, labels)
    return LabelledTexts(
        names, *(examples.rows(np.flatnonzero(places == each)) for each in range(3))
    )


def _known(path: Path, problems: Problems) -> bool:
    # RecBole's files would be read as well, with columns of other meanings.
    suffix = suffix_of(path)
    if suffix not in TABLE_SUFFIXES:
        problems.add(
            "unknown kind of file",
            f"{path}: the suffix {suffix!r} is not known; use one of "
            f"{', '.join(filter(None, TABLE_SUFFIXES))}",
        )
        return False
    return True


def _check_rows(table: TextTable, columns: dict[str, list[str]], problems: Problems) -> None:
    for name, advice in (
        ("text", "fill it or remove the row"),
        ("label", "fill it or remove the row"),
        ("split", f"write one of {', '.join(SPLITS)}"),
    ):
        wrong = [
            row
            for row, value in enumerate(columns.get(name, ()))
            if (value not in SPLITS if name == "split" else not value.strip())
        ]

        def describe(row: int, name: str = name, advice: str = advice) -> str:
            value = columns[name][row]
            return f"{value!r:.60} is no split; {advice}" if value.strip() else f"empty; {advice}"

        table.report(problems, f"values of {name}", np.array(wrong, np.int64), name, describe)


def _label_names(values: Sequence[str]) -> tuple[str, ...]:
    names = {value for value in values if value.strip()}
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def _given_splits(
    path: Path,
    names: Sequence[str],
    labels: NDArray[np.int64],
    splits: Sequence[str],
    problems: Problems,
) -> NDArray[np.int64]:
    places = np.array([SPLITS.index(split) for split in splits], np.int64)
    for place, split in enumerate(SPLITS):
        held = Counter(labels[places == place].tolist())
        for label, name in enumerate(names):
            if not held[label]:
                problems.add(
                    "labels that a split lacks",
                    f"{path}: label {name!r} does not occur in split {split!r}; every label must, "
                    "so move or add examples",
                )
    return places


def _drawn_splits(
    path: Path, names: Sequence[str], labels: NDArray[np.int64], seed: int, problems: Problems
) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    places = np.zeros(len(labels), np.int64)
    for label, name in enumerate(names):
        rows = random.permutation(np.flatnonzero(labels == label))
        if len(rows) < _FEWEST:
            problems.add(
                "labels with too few examples",
                f"{path}: label {name!r} has {len(rows)} examples, and needs {_FEWEST} for one in "
                "each split; add some, or remove the label",
            )
            continue
        held_out = [max(1, round(share * len(rows))) for share in SHARES[1:]]
        places[rows[: held_out[0]]] = 1
        places[rows[held_out[0] : sum(held_out)]] = 2
    return places
