"""The numbers of one classifier's export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from builder.classifier.checkpoint import Classifier
from builder.errors import ConfigError
from builder.export.layout import Layout

_BUCKETS: Final = (8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class ClassifierLayout(Layout):
    """A layout without a catalogue; ``labels`` is the number of probabilities of a text."""

    labels: int

    @classmethod
    def of_classifier(cls, classifier: Classifier, max_rows: int) -> ClassifierLayout:
        """Derive the layout; ConfigError for `max_rows` below 1."""
        if max_rows < 1:
            raise ConfigError(f"--max-rows {max_rows}: must be at least 1")
        longest = classifier.max_length
        return cls(
            items=0,
            text_width=0,
            retrieved=0,
            max_rows=max_rows,
            max_users=max_rows,
            length_buckets=(*(each for each in _BUCKETS if each < longest), longest),
            max_history=0,
            labels=len(classifier.labels),
        )

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"labels": self.labels}
