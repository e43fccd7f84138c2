"""What a training run of a classifier is asked to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from builder.errors import ConfigError

_AT_LEAST: Final[Mapping[str, float]] = {
    "max_length": 8,
    "tune_layers": 1,
    "epochs": 1,
    "batch_size": 1,
    "weight_decay": 0,
    "patience": 1,
    "seed": 0,
}


@dataclass(frozen=True)
class ClassifierConfig:
    """One training run. Raises `ConfigError` for values that make no sense, all at once.

    Attributes
    ----------
    data
        ``text[,text_pair],label[,split]`` as csv, tsv, json lines or Parquet.
    backbone
        A pretrained Hugging Face encoder by directory or hub name.
    max_length
        Longest text or pair in tokens.
    tune_layers
        Upper layers of the encoder that learn, with the head; None for all and the embeddings.
    patience
        Epochs without a better validation ROC-AUC after which training ends.
    """

    data: Path
    backbone: str
    max_length: int = 128
    tune_layers: int | None = None
    epochs: int = 4
    learning_rate: float = 5e-5
    batch_size: int = 32
    weight_decay: float = 0.01
    patience: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name} {value}: must be at least {least}"
            for name, least in _AT_LEAST.items()
            if (value := getattr(self, name)) is not None and not value >= least
        ]
        if not 0 < self.learning_rate < math.inf:
            problems.append(f"learning_rate {self.learning_rate}: must be above 0")
        if not math.isfinite(self.weight_decay):
            problems.append(f"weight_decay {self.weight_decay}: must be finite")
        if self.seed >= 2**32:
            problems.append(f"seed {self.seed}: must be below 2^32, which numpy's generator asks")
        if problems:
            raise ConfigError("training options:\n" + "\n".join(f"  {line}" for line in problems))

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "data": str(self.data.resolve())}
