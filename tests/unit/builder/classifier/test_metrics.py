"""Against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.classifier.metrics import classification_metrics, macro_f1, roc_auc


def two(scores: list[float]) -> NDArray[np.float64]:
    one = np.array(scores)
    return np.stack([1 - one, one], 1)


def test_by_hand() -> None:
    # Predicted 0 0 1 1 1; hits: one of class 0, two of class 1.
    found = classification_metrics(two([0.1, 0.4, 0.6, 0.8, 0.9]), np.array([0, 1, 1, 0, 1]))
    assert found["accuracy"] == pytest.approx(3 / 5)
    # F1 of class 0: 2·1/(2+2); of class 1: 2·2/(3+3).
    assert found["macro_f1"] == pytest.approx((0.5 + 2 / 3) / 2)
    # Positives .4 .6 .9 against negatives .1 .8: right are .4>.1, .6>.1, .9>.1, .9>.8.
    assert found["roc_auc"] == pytest.approx(4 / 6)


def test_ties_count_half() -> None:
    assert roc_auc(two([0.5, 0.5, 0.5]), np.array([0, 1, 1])) == 0.5
    assert roc_auc(two([0.2, 0.7, 0.7]), np.array([0, 1, 0])) == pytest.approx(1.5 / 2)


def test_several_classes_are_each_held_against_the_rest() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.2, 0.3], [0.1, 0.7, 0.2]])
    labels = np.array([0, 1, 2, 0])
    # Class 0: members .8 .1 against .3 .5 → 2 of 4. Class 1: .6 against .1 .2 .7 → 2 of 3.
    # Class 2: .3 against .1 .1 .2 → 3 of 3.
    assert roc_auc(probabilities, labels) == pytest.approx((2 / 4 + 2 / 3 + 1) / 3)
    # Predicted 0 1 0 1: F1 of 0 is 2·1/(2+2), of 1 is 2·1/(2+1), of 2 is 0.
    assert macro_f1(probabilities.argmax(1), labels) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)


def test_a_class_without_members_says_nothing() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1]])
    assert roc_auc(probabilities, np.array([0, 1])) == 1
    assert roc_auc(two([0.1, 0.9]), np.array([1, 1])) == 0.5


def test_nan_is_no_score() -> None:
    with pytest.raises(ValueError, match="NaN"):
        classification_metrics(two([0.1, float("nan")]), np.array([0, 1]))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=30))
def test_auc_counts_pairs(cases: list[tuple[int, bool]]) -> None:
    positives = [score for score, yes in cases if yes]
    negatives = [score for score, yes in cases if not yes]
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    expected = sum(pairs) / len(pairs) if pairs else 0.5
    scores = two([score / 10 for score, _ in cases])
    assert roc_auc(scores, np.array([int(yes) for _, yes in cases])) == pytest.approx(expected)
