"""What is known of items with few events is less certain."""

from __future__ import annotations

import numpy as np
import pytest

from builder.data.sequences import Sequences
from builder.model.popularity import UNKNOWN, Popularity
from builder.model.uncertainty import uncertainties

ITEMS = np.array([0, 0, 0, 1, 1, 2], np.int32)
LOG = Sequences(
    ["a"], np.array([0, 6]), ITEMS, times=None, actions=None,
    target=np.array([True, True, True, True, False, False]),
)  # fmt: skip
EXPECTED = np.sqrt(0.03 + 1 / (1 + np.array([3, 1, 0, 0])))
"""Of four items, the last of which is new."""


@pytest.mark.parametrize("known", [True, False])
def test_targets_are_counted_and_an_item_without_any_has_the_prior(known: bool) -> None:
    popularity = Popularity.of(LOG, 3) if known else UNKNOWN
    other = Sequences(["a"], np.array([0, 0]), ITEMS[:0], times=None, actions=None)
    found = uncertainties(popularity, other if known else LOG, 4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-6)
