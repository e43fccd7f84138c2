"""The figures that the training of a classifier ends with, and how they were measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

PROTOCOL: Final = (
    "figures on the test split, which nothing was chosen on; the epoch is the one with the best "
    "validation ROC-AUC; before: the pretrained encoder under a random head"
)
HEADINGS: Final = {"accuracy": "accuracy", "macro_f1": "macro-F1", "roc_auc": "ROC-AUC"}
"""What each of `METRICS` is called in a table."""


@dataclass(frozen=True)
class Row:
    """Figures of one classifier on `examples` test examples, see `classification_metrics`."""

    name: str
    examples: int
    metrics: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
