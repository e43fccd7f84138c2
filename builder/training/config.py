"""What a training run is asked to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from builder.data.config import DataConfig
from builder.data.splits import METHODS
from builder.errors import ConfigError

if TYPE_CHECKING:
    from builder.model.text_encoder import Pooling

_AT_LEAST: Final[Mapping[str, float]] = {
    "width": 1,
    "layers": 1,
    "heads": 1,
    "max_history": 1,
    "max_length": 3,
    "epochs": 1,
    "tune_epochs": 0,
    "mlm_epochs": 0,
    "patience": 1,
    "batch_size": 1,
    "accumulate": 1,
    "tune_texts": 1,
    "weight_decay": 0,
    "warmup_epochs": 0,
    "lora_rank": 0,
    "contrastive": 0,
    "text_pull": 0,
    "adversarial": 0,
    "linear_entries": 1,
    "seed": 0,
}
_POSITIVE: Final = ("learning_rate", "tune_learning_rate")
PRECISIONS: Final = ("fp32", "bf16")
SCHEDULES: Final = ("auto", "constant", "linear", "cosine")
REFITS: Final = ("auto", "none", "all")
_FREEZE: Final = ("all", "embeddings", "none")
_FORMERLY: Final = frozenset({"tune_layers", "layer_decay", "adversarial_steps", "optimiser"})
"""Options of earlier versions; their runs can be read without them."""
_SHARES: Final = (
    "dropout", "id_dropout", "feature_dropout", "hold_out_items", "label_smoothing", "cold_cost",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    None leaves an option to `builder.training.adapt`, which goes by the size of the data. Raises
    `ConfigError` for values that make no sense, all of them in one message.

    Attributes
    ----------
    data, backbone
        The data set, and a Hugging Face encoder by directory or hub name.
    split, hold_out_items
        What is learnt from and what is held out, see `split_log`; the seed decides which items.
    pooling, max_length
        Tokens → text vector, and the longest text in tokens.
    width, layers, heads, dropout, max_history
        Shape of the adapter, see `AdapterConfig`.
    mlm_epochs
        Passes over the items' texts in which BERT guesses masked words before anything else.
    id_dropout, feature_dropout
        Share of items known by text alone in a step; of histories without actions or times,
        and of users and items without their profile, vectors or a column of these.
    epochs, learning_rate
        First stage: the adapter learns on frozen text vectors.
    freeze, tune_epochs, tune_learning_rate, tune_texts
        Second stage: what of BERT does not learn along, see `learning_layers`, and on how many
        texts a step. 0 epochs leaves it out.
    lora_rank
        Rank of the updates by which its layers learn; 0 for all of their weights.
    loss, label_smoothing, contrastive, text_pull, task_weights
        What is minimised, see `builder.training.objective.Loss`.
    adversarial
        Length of the step by which word embeddings are made worse, for the second stage to learn
        from them too; 0 for none.
    patience
        Validations without a better figure after which a stage ends.
    schedule
        What becomes of the learning rate after the warm-up: it stays, or falls to 0 by the last
        epoch, along a line or a cosine. ``auto`` is constant in the first stage, which ends by
        patience, and linear in the second, which has few epochs.
    batch_size, weight_decay, warmup_epochs, seed
        As in any training; a batch is of histories.
    accumulate
        Pieces that each process makes of its part of a batch, one after the other.
    precision
        Of BERT and of the layers over the history in training; all else is FP32, and so are all
        weights.
    warm_start
        A finished run to continue from, with its encoder and the shape of its network; the options
        that say otherwise have no effect.
    refit
        What is learnt from in a second training, once everything is chosen: the validation events
        too where they matter, see `Split.refit`; nothing; or ``all`` events, those of the test too.
    linear_entries
        Entries kept of each row of the linear term.
    cold_cost
        Share of the validation NDCG@10 that items without training events may cost the others.
        Where these are few they cost less, see `Recommender.cold_place`.
    """

    data: DataConfig
    backbone: str
    split: str = "leave-one-out"
    hold_out_items: float = 0.0
    pooling: Pooling = "mean"
    max_length: int = 64
    mlm_epochs: int = 0
    width: int = 64
    layers: int = 2
    heads: int = 2
    dropout: float = 0.4
    max_history: int | None = None
    id_dropout: float = 0.2
    feature_dropout: float = 0.2
    epochs: int = 100
    learning_rate: float = 1e-3
    freeze: str = "-2"
    tune_epochs: int | None = None
    tune_learning_rate: float = 2e-4
    tune_texts: int | None = None
    lora_rank: int = 0
    adversarial: float = 0.0
    loss: str = "softmax"
    label_smoothing: float = 0.0
    contrastive: float = 0.0
    text_pull: float = 1.0
    task_weights: str = "fixed"
    patience: int | None = None
    batch_size: int | None = None
    accumulate: int = 1
    precision: str = "fp32"
    schedule: str = "auto"
    weight_decay: float = 0.01
    warmup_epochs: float = 2.0
    linear_entries: int = 256
    cold_cost: float = 0.04
    refit: str = "auto"
    warm_start: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        # Imported here, with torch: the command line declares its options from this class.
        from builder.model.text_encoder import POOLINGS
        from builder.training.losses import LOSSES
        from builder.training.tasks import TASK_WEIGHTS

        numbers = {**_AT_LEAST, **dict.fromkeys((*_POSITIVE, *_SHARES), 0.0)}
        problems = [
            f"{name} {value}: must be a finite number"
            for name in numbers
            if (value := getattr(self, name)) is not None and not math.isfinite(value)
        ]
        problems += [
            f"{name} {value}: must be at least {least}"
            for name, least in _AT_LEAST.items()
            if (value := getattr(self, name)) is not None and value < least
        ]
        problems += [
            f"{name} {value}: must be above 0"
            for name in _POSITIVE
            if (value := getattr(self, name)) <= 0
        ]
        problems += [
            f"{name} {value}: must be from 0 up to, not including, 1"
            for name in _SHARES
            if (value := getattr(self, name)) < 0 or value >= 1
        ]
        for name, value, known in (
            ("split", self.split, METHODS),
            ("pooling", self.pooling, POOLINGS),
            ("loss", self.loss, LOSSES),
            ("task_weights", self.task_weights, TASK_WEIGHTS),
            ("precision", self.precision, PRECISIONS),
            ("refit", self.refit, REFITS),
            ("schedule", self.schedule, SCHEDULES),
        ):
            if value not in known:
                problems.append(f"{name} {value!r}: must be one of {', '.join(known)}")
        problems += self._contradictions()
        if problems:
            raise ConfigError("training options:\n" + "\n".join(f"  {line}" for line in problems))

    def _contradictions(self) -> list[str]:
        """What is wrong with a value that is a number, or beside another one."""
        layers = self.freeze not in _FREEZE and not _is_whole(self.freeze)
        wrong = {
            f"seed {self.seed}: must be below 2^32, which numpy's generator asks": (
                self.seed >= 2**32
            ),
            f"width {self.width}: must be a multiple of heads, {self.heads}": (
                self.heads > 0 and self.width % self.heads != 0
            ),
            f"freeze {self.freeze!r}: must be {', '.join(_FREEZE)}, N or -N": layers,
            "lora_rank: leaves the embeddings as they are; give freeze embeddings": (
                self.lora_rank > 0 and self.freeze == "none"
            ),
            "adversarial: nothing learns from it where the embeddings do not; give freeze none": (
                self.adversarial > 0 and self.freeze != "none"
            ),
        }
        return [problem for problem, found in wrong.items() if found]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "data": self.data.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Build the configuration from JSON values; keys left out get their defaults.

        Raises
        ------
        ConfigError
            Unknown keys, no data or backbone, or values that make no sense.
        """
        values = {name: values[name] for name in values if name not in _FORMERLY}
        if values.get("loss") == "bce":  # of an earlier version
            del values["loss"]
        problems = [
            f"there is no {name}"
            for name in sorted(set(values) - {field.name for field in fields(cls)})
        ]
        problems += [f"{name} is missing" for name in ("data", "backbone") if name not in values]
        if problems:
            raise ConfigError(f"training options: {'; '.join(problems)}")
        return cls(**{**values, "data": DataConfig.from_dict(values["data"])})


def _is_whole(text: str) -> bool:
    try:
        return int(text) != 0
    except ValueError:
        return False


def learning_layers(freeze: str, layers: int) -> int:
    """How many parts of a BERT learn, counted from its end: its layers, and its embeddings last.

    Parameters
    ----------
    freeze
        What stays as it is: ``all``; the ``embeddings``; ``none``; the lowest N layers and the
        embeddings; or, as -N, all but the last N layers.
    layers
        How many there are.

    Raises
    ------
    ConfigError
        There are not so many layers to freeze.
    """
    named = {"all": 0, "embeddings": layers, "none": layers + 1}
    if freeze in named:
        return named[freeze]
    lowest = int(freeze)
    if lowest >= layers:
        raise ConfigError(
            f"freeze {freeze}: BERT has {layers} layers; give at most {layers - 1}, or all"
        )
    return layers - lowest if lowest > 0 else min(-lowest, layers)


PARTIAL: Final = ".partial"
"""What is appended to the output's name until the run is complete."""


def partial_directory(output: Path) -> Path:
    """Where a run lives until it is complete and takes its own name."""
    return output.with_name(output.name + PARTIAL)
