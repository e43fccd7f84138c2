"""Accuracy, macro-F1 and ROC-AUC of class probabilities.

By hand, since they are a few lines each and the packages that have them weigh tens of megabytes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

METRICS: Final = ("accuracy", "macro_f1", "roc_auc")


def classification_metrics(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> dict[str, float]:
    """The figures of `METRICS` by name.

    Parameters
    ----------
    probabilities
        FP [n, classes].
    labels
        INT [n], the true classes.

    Raises
    ------
    ValueError
        A probability is NaN: it compares false with everything, and would be ranked all the same.
    """
    if np.isnan(probabilities).any():
        raise ValueError("the classifier answers NaN; its weights are damaged or training diverged")
    predicted = probabilities.argmax(1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": macro_f1(predicted, labels),
        "roc_auc": roc_auc(probabilities, labels),
    }


def macro_f1(predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Mean F1 over the classes that occur among `labels` or `predicted`."""
    scores = []
    for each in np.union1d(predicted, labels):
        hits = np.sum((predicted == each) & (labels == each))
        scores.append(2 * hits / (np.sum(predicted == each) + np.sum(labels == each)))
    return float(np.mean(scores))


def roc_auc(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Share of (positive, negative) pairs in the right order, ties counting half.

    Of two classes, for the second. Of more, the mean of each class against the rest (Provost &
    Domingos 2000, unweighted), over the classes that `labels` has both members and others of.

    Returns
    -------
    0.5 where `labels` holds one class only and nothing can be in the wrong order.
    """
    classes = range(probabilities.shape[1])
    of = [1] if len(classes) == 2 else [c for c in classes if 0 < np.sum(labels == c) < len(labels)]
    areas = [_area(probabilities[:, each], labels == each) for each in of]
    return float(np.mean(areas)) if areas else 0.5


def _area(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> float:
    """Mann-Whitney U over the number of pairs."""
    members, others = int(positive.sum()), int((~positive).sum())
    if not members or not others:
        return 0.5
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - members * (members + 1) / 2) / (members * others))
