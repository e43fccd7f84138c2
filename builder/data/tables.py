"""What every format is read into: one table of items and one of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The ``n`` items, in the order of their file.

    Attributes
    ----------
    item_ids
        ``n`` distinct ids.
    texts
        ``n`` non-empty texts, made from the template.
    columns
        ``n`` rows: the columns of the item file as strings, an empty one where a value is missing.
    vectors
        The columns of vectors that were asked for, FP32 [n, k] each, NaN throughout for an item
        without one; ``columns`` has them no more.
    """

    item_ids: list[str]
    texts: list[str]
    columns: pd.DataFrame
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item_ids)

    def only(self, kept: NDArray[np.bool_]) -> Catalogue:
        """The items that are kept, BOOL [n]."""
        rows = np.flatnonzero(kept)
        return Catalogue(
            [self.item_ids[row] for row in rows],
            [self.texts[row] for row in rows],
            self.columns.iloc[rows].reset_index(drop=True),
            {name: vectors[rows] for name, vectors in self.vectors.items()},
        )

    def with_ids_for_texts(self) -> Catalogue:
        """Give items that have no text their id for one."""
        texts = [text or item for text, item in zip(self.texts, self.item_ids, strict=True)]
        return replace(self, texts=texts)

    def with_items(self, item_ids: Sequence[str], key: str) -> Catalogue:
        """Add items of which only the id is known, which column ``key`` has."""
        if not item_ids:
            return self
        more = pd.DataFrame({key: item_ids}).reindex(columns=self.columns.columns, fill_value="")
        return Catalogue(
            [*self.item_ids, *item_ids],
            [*self.texts, *item_ids],
            pd.concat([self.columns, more], ignore_index=True),
            {
                name: np.concatenate(
                    [vectors, np.full((len(item_ids), vectors.shape[1]), np.nan, np.float32)]
                )
                for name, vectors in self.vectors.items()
            },
        )

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id → position in the catalogue."""
        return {item_id: position for position, item_id in enumerate(self.item_ids)}


@dataclass(frozen=True, eq=False)
class Interactions:
    """The ``E`` events, sorted by user, then time; equal times keep the order of the file.

    Attributes
    ----------
    user_ids
        The distinct users, in order of first appearance in the file.
    user
        INT32 [E], index into ``user_ids``.
    item
        INT32 [E], index into ``Catalogue.item_ids``.
    time
        INT64 [E], Unix seconds. None when the log has no times; the order of the file is then
        the order of time.
    action
        INT32 [E], 1-based index into ``actions``, 0 for "not known". None when the log has none.
    actions
        The distinct actions, sorted.
    target
        BOOL [E], whether a recommendation is to lead to such an event; the others are context, see
        `DataConfig`. None when all are targets.
    profile
        A row for each of ``user_ids``: the columns of the user file that were asked for, as
        strings, an empty one where nothing is known. None when none were.
    """

    user_ids: list[str]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64] | None
    action: NDArray[np.int32] | None
    actions: list[str]
    target: NDArray[np.bool_] | None = None
    profile: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.item)
