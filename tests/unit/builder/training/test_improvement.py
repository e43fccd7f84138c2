from __future__ import annotations

import numpy as np
import pytest

from builder.training.improvement import is_better


@pytest.mark.parametrize(
    ("change", "better"),
    [
        ([0.1, 0.1], True),
        ([0.0, 0.0], False),
        ([-0.1, -0.1], False),
        ([1.0, 0.0, 0.0, 0.0], False),  # a mean of .25, with an error of .25
        ([1.0, 1.0, 0.0, 0.0], True),  # .5 ± .29
        ([0.2], True),
    ],
)
def test_more_than_one_standard_error(change: list[float], better: bool) -> None:
    old = np.linspace(0, 1, len(change))
    assert is_better(old + change, old) is better
