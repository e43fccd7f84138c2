"""Whether a change of the score is better, or its figure is higher by chance alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def is_better(new: NDArray[np.float64], old: NDArray[np.float64]) -> bool:
    """Whether gains FP64 [U] of the same users are higher by more than one standard error.

    The one-standard-error rule (Breiman et al. 1984): of two that chance cannot tell apart, the
    simpler one is kept. The error is that of the mean difference of the users.
    """
    change = new - old
    mean = float(change.mean())
    error = float(change.std(ddof=1) / np.sqrt(len(change))) if len(change) > 1 else 0.0
    return mean > 0 and mean > error
