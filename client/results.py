"""What a service gets back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """An item and how much the user is expected to care for it.

    Attributes
    ----------
    id
        The item's id.
    interest
        Calibrated probability, 0 to 1; NaN for a candidate skipped as unknown.
    logit
        The score before calibration; it orders items as ``interest`` does, without saturating.
    """

    id: str
    interest: float
    logit: float


@dataclass(frozen=True, slots=True, eq=False)
class _ScoredItems(Sequence[ScoredItem]):
    """A sequence of :class:`ScoredItem`, kept as columns.

    Attributes
    ----------
    items
        Item ids [n].
    interests
        FP32 [n], read-only. Probabilities, 0 to 1.
    logits
        FP32 [n], read-only.
    skipped
        Events of the history that were left out: not in the catalogue and without a text.
    truncated
        Texts that were cut to the longest length that the encoder reads.
    """

    items: tuple[str, ...]
    interests: NDArray[np.float32]
    logits: NDArray[np.float32]
    skipped: int
    truncated: int

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> ScoredItem: ...
    @overload
    def __getitem__(self, index: slice) -> list[ScoredItem]: ...
    def __getitem__(self, index: int | slice) -> ScoredItem | list[ScoredItem]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return ScoredItem(
            self.items[index], float(self.interests[index]), float(self.logits[index])
        )


@dataclass(frozen=True, slots=True, eq=False)
class Ranking(_ScoredItems):
    """The candidates of a ``rank`` call, in the order asked; see :meth:`sorted`.

    A candidate that was skipped as unknown (``on_unknown="skip"``) has NaN as its interest and
    its logit.
    """

    def sorted(self) -> list[ScoredItem]:
        """Return the candidates best first: ties in the order asked, skipped ones last."""
        # Stable, on the negated score: numpy sorts NaN last.
        order = np.argsort(-self.logits, kind="stable")
        return [self[position] for position in order.tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class Recommendations(_ScoredItems):
    """The items of a ``recommend`` call, best first; fewer than asked where no more exist."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """The vectors of an ``encode`` call.

    Attributes
    ----------
    vectors
        FP32 [B, h], read-only; row i belongs to text i. h is the width of the text encoder.
    truncated
        bool [B]: the text was cut to the longest length that the encoder reads.
    """

    vectors: NDArray[np.float32]
    truncated: NDArray[np.bool_]
