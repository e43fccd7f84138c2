"""Names for the types of arrays, and the bounds of their numbers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]
"""Catalogue indices; or *slots*, see ``NO_ITEM``."""
Seconds = NDArray[np.int64]

LEAST: Final = float(np.finfo(np.float32).tiny)
"""The least number above 0 that FP32 has in full precision."""
LARGEST: Final = float(np.finfo(np.float32).max)

NO_ITEMS: Final[Indices] = np.zeros(0, np.int32)
