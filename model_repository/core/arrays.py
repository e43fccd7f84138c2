"""Names for the types of arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]
"""Catalogue indices; or *slots*, see ``NO_ITEM``."""
Seconds = NDArray[np.int64]

NO_ITEMS: Final[Indices] = np.zeros(0, np.int32)
