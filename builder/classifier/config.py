"""The options of a training run of a classifier."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder.data.dialect import (
    ENCODING,
    QUOTE,
    SEPARATOR,
    Dialect,
    Quote,
    dialect_problems,
    spoken,
)
from builder.options import check, option


@dataclass(frozen=True)
class ClassifierConfig:
    """One training run. Raises `ConfigError` for values that make no sense, all at once.

    Attributes
    ----------
    data
        ``text[,text_pair],label[,split]`` as delimited text, JSON or Parquet.
    backbone
        A pretrained Hugging Face encoder by directory or hub name.
    """

    data: Path
    backbone: str
    max_length: int = option(
        128, "Longest text or pair; the rest is cut.", metavar="TOKENS", at_least=8
    )
    tune_layers: int | None = option(
        None,
        "Upper BERT layers that learn, with the head. Default: all layers and the "
        "embeddings. Fewer cost less.",
        at_least=1,
    )
    epochs: int = option(4, "At most this many passes over the examples.", at_least=1)
    learning_rate: float = option(
        5e-5, "Learning rate after the warm-up; it then falls to 0.", above=0
    )
    batch_size: int = option(32, "Examples in a step.", at_least=1)
    weight_decay: float = option(
        0.01, "Weight decay of AdamW; biases and norms have none.", at_least=0
    )
    patience: int = option(
        2,
        "Training ends after this many epochs without a better validation ROC-AUC.",
        metavar="EPOCHS",
        at_least=1,
    )
    seed: int = option(
        0, "The same seed gives the same splits and metrics.", at_least=0, below=2**32
    )

    encoding: str | None = option(None, **ENCODING)
    separator: str | None = option(None, **SEPARATOR)
    quote: Quote = option("auto", **QUOTE)

    def __post_init__(self) -> None:
        problems = dialect_problems(self.encoding, self.separator, self.quote)
        check(self, "training options", problems)

    @property
    def dialect(self) -> Dialect:
        return Dialect(self.encoding, None, spoken(self.separator), self.quote)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "data": str(self.data.resolve())}
