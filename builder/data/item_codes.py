"""Numbers the items of a log by the catalogue, and notes those that it does not have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builder.data.config import DataConfig
from builder.data.ids import LikeIds, difference
from builder.data.problems import NOT_UTF8
from builder.data.row_faults import Findings, RowFaults
from builder.data.rows import is_missing
from builder.data.tables import Catalogue

_SHOWN: Final = 80  # characters of what may be no id at all


class ItemCodes:
    """The items of a log, a batch after the other.

    Parameters
    ----------
    file
        Name of the item file.
    catalogue
        None where it could not be read: then no item is known, and none is missed.
    left_out
        Items whose events are left out.
    """

    def __init__(
        self,
        config: DataConfig,
        file: str,
        catalogue: Catalogue | None,
        left_out: Collection[str],
    ) -> None:
        self._loose = config.match_ids == "loose"
        self._keeps = config.on_unknown_items == "keep"
        self._drops = config.on_unknown_items == "drop"
        self._catalogue = catalogue
        self._left_out = left_out
        self._new: dict[str, int] = {}
        self._like_items: LikeIds | None = None
        self._near: tuple[int, str, str] | None = None  # row, item, the known one that is like it
        self._near_count = 0
        self._file = file
        self._unknown = RowFaults(self._describe, drop=self._drops)
        # Apart: they are a consequence where the log is not UTF-8.
        self._garbled = RowFaults(self._describe, drop=self._drops)
        self._without_text = RowFaults(lambda item: f"item {item!r} has no text; ", drop=True)

    @property
    def new(self) -> list[str]:
        """The items that only the log knows, where they are kept; numbered after the others."""
        return list(self._new)

    def add(
        self, start: int, encoded: pa.DictionaryArray, without: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Number the items of the rows from ``start``, of which some are ``without``, BOOL [B].

        Returns INT32 [B], -1 where the item is not known, and which events are kept, BOOL [B].
        """
        keep = np.ones(len(encoded), np.bool_)
        if self._catalogue is None:
            return np.full(len(encoded), -1, np.int32), keep
        names = encoded.dictionary.to_pylist()
        places = encoded.indices.to_numpy()
        numbers, near = self._numbers(names)
        items: NDArray[np.int32] = numbers[places]
        unknown = (items < 0) & ~without
        if near:
            rows = np.flatnonzero(np.isin(places, list(near)))
            if self._near is None:
                place = int(places[rows[0]])
                self._near = start + int(rows[0]), names[place], near[place]
            self._near_count += len(rows)
            unknown[rows] = False
        if self._left_out:
            gone = np.array([name in self._left_out for name in names], np.bool_)[places]
            keep &= self._without_text.add(start, gone, encoded)
            unknown &= ~gone
        garbled = unknown & np.array(["\ufffd" in name for name in names], np.bool_)[places]
        keep &= self._unknown.add(start, unknown & ~garbled, encoded)
        keep &= self._garbled.add(start, garbled, encoded)
        if self._drops:
            keep &= (items >= 0) | without
        return items, keep

    def report(self, found: Findings, column: str) -> None:
        """Record what is wrong with the items."""
        if self._near is not None:
            row, item, like = self._near
            found.add(
                "items that are written otherwise",
                column,
                row,
                f"item {item!r} is {like!r} in the item file, which differs by "
                f"{difference(item, like)} ({self._near_count:,} events have such items); write "
                "them alike, or give --match-ids loose",
                self._near_count,
                self._drops,
            )
        unknown = "events with items that are not known"
        self._unknown.report(found, unknown, column)
        self._without_text.report(found, "events with items without text", column)
        if NOT_UTF8 not in found.problems:
            self._garbled.report(found, unknown, column)

    def _describe(self, item: str) -> str:
        index = {} if self._catalogue is None else self._catalogue.index
        if " " in item and all(each in index for each in item.split()):
            return f"{item!r} is a list of items; rename the column, as in item_ids"
        shown = item if len(item) <= _SHOWN else f"{item[:_SHOWN]}..."
        return (
            f"item {shown!r} is not in {self._file}; add it there, or give --on-unknown-items drop "
            "to leave its events out, or keep to know it by its id"
        )

    def _numbers(self, names: list[str]) -> tuple[NDArray[np.int32], dict[int, str]]:
        """INT32 [n], -1 where not known; and places of names that are like a known one."""
        index = {} if self._catalogue is None else self._catalogue.index
        numbers = np.array([index.get(name, -1) for name in names], np.int32)
        near = {
            place: like
            for place in np.flatnonzero(numbers < 0).tolist()
            if (like := self._like(names[place])) is not None
        }
        if self._loose:
            for place, like in near.items():
                numbers[place] = index[like]
            near = {}
        if self._keeps:
            for place in np.flatnonzero(numbers < 0).tolist():
                name = names[place]
                if not is_missing(name) and place not in near and name not in self._left_out:
                    numbers[place] = self._new.setdefault(name, len(index) + len(self._new))
        return numbers, near

    def _like(self, item: str) -> str | None:
        if self._catalogue is None or is_missing(item) or item in self._left_out:
            return None
        if self._like_items is None:
            self._like_items = LikeIds(self._catalogue.item_ids)
        return self._like_items.like(item)
