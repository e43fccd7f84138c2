"""What chooses the item of a rank."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import Floats


class Chooser(Protocol):
    """Chooses one candidate at a rank."""

    def choose(self, feasible: NDArray[np.bool_], scores: Floats, rank: int) -> tuple[int, float]:
        """The place of one of the ``feasible`` BOOL [m], and how likely it was to be chosen.

        ``scores`` FP32 [m] descend; ``rank`` counts from 0. The probability is that of choosing it
        at this rank, given what was chosen before.
        """
        ...


class Best:
    """Takes the best."""

    def choose(
        self,
        feasible: NDArray[np.bool_],
        scores: Floats,  # noqa: ARG002
        rank: int,  # noqa: ARG002
    ) -> tuple[int, float]:
        return int(feasible.argmax()), 1.0
