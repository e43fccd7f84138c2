"""Where items that no training event met come in a list of recommendations.

What is known of them is their neighbours (`neighbours`), whose mean hardly ever beats the best of
what is known by itself. So they are moved forward together, for each user by as much as brings the
best of them to one place of the list; the others keep their distance to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .slots import EXCLUDED_LOGIT

Floats = NDArray[np.float32]


def lift(known: Floats, cold: Floats, place: int) -> Floats:
    """What to add to the logits of each user's cold items, FP32 [U].

    ``known`` FP32 [U, at least place] are the largest logits of the others, largest first, ``cold``
    FP32 [U] the largest of the cold ones. The best cold item comes halfway between the two known
    ones that it stands between at ``place``, 2 or more, so that no rounding moves it. 0 where it is
    further forward by itself, and where something of this is excluded: there is nothing to move, or
    nothing to move it to.
    """
    before, after = known[:, place - 2], known[:, place - 1]
    there = (after > EXCLUDED_LOGIT / 2) & (cold > EXCLUDED_LOGIT / 2)
    return np.where(there, np.maximum((before + after) / 2 - cold, 0), np.float32(0))
