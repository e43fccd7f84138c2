"""How much of a catalogue lists show, and how evenly."""

from __future__ import annotations

import numpy as np
import pytest

from builder.evaluation.beyond_accuracy import coverage, gini


def test_coverage_counts_the_items_that_anyone_is_shown() -> None:
    assert coverage(np.array([[0, 1], [1, -1]], np.int32), 4) == 0.5


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ([[0, 1], [2, 3]], 0),  # all alike
        ([[2, -1], [2, -1]], 1 - 1 / 4),  # one has all
        ([[0, 1], [1, 1]], 0.625),
        ([[-1, -1]], 0),
    ],
)
def test_gini_says_how_unevenly_items_are_shown(top: list[list[int]], expected: float) -> None:
    assert gini(np.array(top, np.int32), 4) == pytest.approx(expected)


def test_gini_is_the_mean_difference_of_all_pairs() -> None:
    top = np.random.default_rng(0).integers(0, 30, (20, 10)).astype(np.int32)
    counts = np.bincount(top.ravel(), minlength=40)
    pairs = np.abs(counts[:, np.newaxis] - counts).mean() / (2 * counts.mean())
    assert gini(top, 40) == pytest.approx(pairs)
