"""How the steps name an item: the constants that the graphs and the serving code share."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

NO_ITEM: Final = -(2**31)
"""The slot of no item at all: a candidate skipped as unknown, or padding."""

EXCLUDED_LOGIT: Final = -1e4
"""The logit of an item that must not be recommended. Finite, so that it survives FP16."""

GAP_BUCKETS: Final = 32
"""Buckets of the time between two events; bucket 0 is "not known"."""


def gap_buckets(times: NDArray[np.int64]) -> NDArray[np.int32]:
    """Bucket the seconds between each event and the one before it, on a log2 scale.

    Parameters
    ----------
    times
        Unix seconds [H], oldest first.

    Returns
    -------
    INT32 [H]: 0 for the first event, else ``1 + floor(log2(1 + seconds))``, at most 31.
    """
    buckets = np.zeros(len(times), np.int32)
    if len(times) > 1:
        # As floats, since the difference of two INT64 need not be one.
        seconds = np.maximum(np.diff(times.astype(np.float64)), 0)
        buckets[1:] = np.minimum(1 + np.log2(1 + seconds), GAP_BUCKETS - 1).astype(np.int32)
    return buckets
