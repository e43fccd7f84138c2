"""The options of a training run; each is a flag of ``train`` and ``tune``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from builder.data.config import DataConfig
from builder.data.splits import ItemChoice, Method
from builder.errors import ConfigError
from builder.model.pooling import PoolingChoice
from builder.options import check, option, refuse

LossKind = Literal["softmax", "sampled"]
TaskWeighting = Literal["fixed", "uncertainty"]
Precision = Literal["fp32", "bf16"]
Schedule = Literal["auto", "constant", "linear", "cosine"]
Refit = Literal["auto", "none", "all"]
_FREEZE: Final = ("all", "embeddings", "none")
_FORMERLY: Final = frozenset(
    {"tune_layers", "optimiser", "layer_decay", "adversarial_steps", "cold_cost"}
)
"""Options of earlier versions; their runs can be read without them."""

_PROTOCOL: Final = "What is held out"
_TEXT: Final = "Text"
_NETWORK: Final = "Network"
_FIRST: Final = "First stage: the network on frozen text vectors"
_SECOND: Final = "Second stage: BERT and the network together"
_BOTH: Final = "Both stages"
_EXPERIMENTAL: Final = "Experimental: not shown to help"


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    An option that is None gets its value from the size of the data, see
    `builder.training.data_dependent_defaults`. Raises `ConfigError` for values that make no sense,
    all of them in one message.

    Attributes
    ----------
    data, backbone
        The data set, and a Hugging Face encoder by directory or hub name.
    """

    data: DataConfig
    backbone: str

    split: Method = option(
        "leave-one-out",
        "leave-one-out: each user's last event is the test and the one before it validation. "
        "temporal: two moments in time, the same for all users. 80 % of the events lie "
        "before the first, 90 % before the second; nothing is learnt from later events.",
        panel=_PROTOCOL,
    )
    hold_out_items: float = option(
        0.0,
        "Share of the items whose events are held out of training. `evaluate` then measures "
        "how well items are recommended by their text alone; 0.1 is usual. Not for a model "
        "in production.",
        panel=_PROTOCOL, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    hold_out: ItemChoice = option(
        "random",
        "Which items --hold-out-items takes. random: so many of all, drawn by --seed. late: "
        "those whose first event lies in that last share of the log's events, as new items "
        "come in life.",
        panel=_PROTOCOL,
    )
    refit: Refit = option(
        "auto",
        "Train a second time after everything is chosen, and keep that model. auto: with the "
        "validation events, where they are more than a twentieth of the others. all: with "
        "the test events too, for a model in production; its table is that of the first "
        "training, and `evaluate` refuses it. none: never.",
        panel=_PROTOCOL,
    )

    pooling: PoolingChoice = option(
        "auto",
        "How token states become one vector: mean of all; cls, the first; or attention, "
        "learned weights. auto: as the backbone's modules.json says, otherwise mean.",
        panel=_TEXT,
    )
    max_length: int = option(
        64,
        "Longest text; the rest is cut. `data describe --backbone` shows the lengths of your "
        "texts. Cost grows with the length.",
        panel=_TEXT, metavar="TOKENS", at_least=3,
    )  # fmt: skip

    width: int = option(
        64,
        "Length of an item vector. A longer one can hold more and needs more events to learn.",
        panel=_NETWORK, at_least=1,
    )  # fmt: skip
    layers: int = option(2, "Transformer layers over the history.", panel=_NETWORK, at_least=1)
    heads: int = option(
        2, "Attention heads of each layer; they divide the width.", panel=_NETWORK, at_least=1
    )
    dropout: float = option(
        0.4,
        "Share of activations left out at random. Raise it when the validation figure falls "
        "while the training loss still falls.",
        panel=_NETWORK, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    max_history: int | None = option(
        None,
        "Longest history; of a longer one the last events count. Default: the length that "
        "covers 95 % of the users, 20 to 200.",
        panel=_NETWORK, metavar="EVENTS", at_least=1,
    )  # fmt: skip
    linear_entries: int = option(
        256,
        "Entries kept in each row of the linear term, which holds the items that are seen "
        "together.",
        panel=_NETWORK, at_least=1,
    )  # fmt: skip

    epochs: int = option(100, "At most this many passes over the log.", panel=_FIRST, at_least=1)
    learning_rate: float = option(
        1e-3, "Learning rate of the network, in both stages.", panel=_FIRST, above=0
    )

    freeze: str = option(
        "-2",
        "Frozen parts of BERT: all; embeddings; none; N, the lowest N layers; or -N, all but "
        "the last N. The output of the frozen layers is computed once for each text and kept "
        "in memory.",
        panel=_SECOND, metavar="WHAT",
    )  # fmt: skip
    tune_epochs: int | None = option(
        None,
        "At most this many passes over the log; 0 skips the stage. Default: as many as make "
        "300 steps.",
        panel=_SECOND, at_least=0,
    )  # fmt: skip
    tune_learning_rate: float = option(
        2e-4, "Learning rate of the BERT layers; small, since they are pretrained.",
        panel=_SECOND, above=0,
    )  # fmt: skip
    tune_texts: int | None = option(
        None,
        "Texts that learn in a step; the others keep their last vectors. Fewer cost less. "
        "Default: 64 to 512, fewer for longer texts.",
        panel=_SECOND, at_least=1,
    )  # fmt: skip

    loss: LossKind = option(
        "softmax",
        "softmax: over the catalogue, above 8,192 items over a sample of it; sampled: always "
        "over a sample.",
        panel=_BOTH,
    )
    id_dropout: float = option(
        0.2,
        "Share of items that stand for their text alone in a step. A higher share helps cold "
        "items and costs warm ones.",
        panel=_BOTH, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    feature_dropout: float = option(
        0.2,
        "Share of histories without actions or without times in a step, and of users and "
        "items without profile, vectors or a column of these. So the model can do without "
        "them.",
        panel=_BOTH, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    patience: int | None = option(
        None,
        "A stage ends after this many validations without a better NDCG@10, and keeps its "
        "best state. There is a validation every epoch or every 200 steps. Default: 5 to 15, "
        "as many as make 270 steps.",
        panel=_BOTH, metavar="TIMES", at_least=1,
    )  # fmt: skip
    batch_size: int | None = option(
        None,
        "Histories in a step. Default: about 3,000 events, and at least 16 steps an epoch.",
        panel=_BOTH, at_least=1,
    )  # fmt: skip
    accumulate: int = option(
        1,
        "Gradient accumulation: split each batch into this many parts, one after the other, "
        "to save memory. The loss is that of the full batch.",
        panel=_BOTH, metavar="PIECES", at_least=1,
    )  # fmt: skip
    precision: Precision = option(
        "fp32",
        "fp32; or bf16 for BERT and the layers over the history, for speed and memory on a "
        "GPU that supports it. Weights, logits and losses stay FP32, in the checkpoint too.",
        panel=_BOTH,
    )
    schedule: Schedule = option(
        "auto",
        "Learning rate after the warm-up: constant; linear or cosine, down to 0 by the last "
        "epoch. auto: constant in the first stage, which ends by patience, and linear in the "
        "second.",
        panel=_BOTH,
    )
    weight_decay: float = option(
        0.01, "Weight decay; biases and norms have none.", panel=_BOTH, at_least=0
    )
    warmup_epochs: float = option(
        2.0, "Epochs until the learning rate reaches its full height.", panel=_BOTH, at_least=0
    )
    warm_start: str | None = option(
        None,
        "Continue from a finished run with a longer log or a larger catalogue. Training "
        "starts from its BERT, its network and what it has learnt of each item. The second "
        "stage is skipped unless --tune-epochs asks for it.",
        panel=_BOTH, metavar="RUN",
    )  # fmt: skip
    seed: int = option(
        0, "The same seed gives the same metrics.", panel=_BOTH, at_least=0, below=2**32
    )

    mlm_epochs: int = option(
        0,
        "First make this many passes over the items' texts, in which BERT predicts masked "
        "words. For a backbone whose pretraining had no texts of this kind.",
        panel=_EXPERIMENTAL, at_least=0,
    )  # fmt: skip
    lora_rank: int = option(
        0,
        "LoRA: train low-rank updates of this rank in place of all weights of BERT's layers, "
        "and merge them in at the end; 8 is usual, 0 is off. Needs the extra `lora`.",
        panel=_EXPERIMENTAL, metavar="RANK", at_least=0,
    )  # fmt: skip
    adversarial: float = option(
        0.0,
        "After a quarter of the second stage, train on each text a second time, with its "
        "word embeddings moved by this length in the direction that raises the loss most; "
        "0.5 is usual, 0 is off. Needs --freeze none, and twice the time.",
        panel=_EXPERIMENTAL, metavar="LENGTH", at_least=0,
    )  # fmt: skip
    label_smoothing: float = option(
        0.0,
        "Share of each next item that is spread over all items, against overconfidence; 0.1 "
        "is usual.",
        panel=_EXPERIMENTAL, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    contrastive: float = option(
        0.0,
        "Weight of a contrastive loss: the text of each item of a step has to tell it from "
        "the others. For catalogues with many new items.",
        panel=_EXPERIMENTAL, metavar="WEIGHT", at_least=0,
    )  # fmt: skip
    text_pull: float = option(
        1.0,
        "Weight of a loss in the second stage that draws the vector of each text to that of "
        "its item. The loss of the next item has weight 1; 0 is off.",
        panel=_EXPERIMENTAL, metavar="WEIGHT", at_least=0,
    )  # fmt: skip
    task_weights: TaskWeighting = option(
        "fixed",
        "Weights of the next-item loss, the contrastive loss and the text pull. fixed: 1, "
        "--contrastive and --text-pull. uncertainty: starts there, and gives a task less "
        "weight the larger its loss stays.",
        panel=_EXPERIMENTAL,
    )

    def __post_init__(self) -> None:
        layers = self.freeze not in _FREEZE and not _is_layer_count(self.freeze)
        wrong = {
            f"width {self.width}: must be a multiple of heads, {self.heads}": (
                self.heads > 0 and self.width % self.heads != 0
            ),
            f"freeze {self.freeze!r}: must be {', '.join(_FREEZE)}, N or -N": layers,
            "lora_rank: LoRA does not train the embeddings; give freeze embeddings": (
                self.lora_rank > 0 and self.freeze == "none"
            ),
            "hold_out late: give hold_out_items too, the share of the log that is late": (
                self.hold_out == "late" and self.hold_out_items == 0
            ),
            "adversarial: needs embeddings that learn; give freeze none": (
                self.adversarial > 0 and self.freeze != "none"
            ),
        }
        check(self, "training options", [problem for problem, found in wrong.items() if found])

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
        if values.get("loss") == "bce":  # one of an earlier version, of no use once it is trained
            del values["loss"]
        problems = [
            f"there is no {name}"
            for name in sorted(set(values) - {field.name for field in fields(cls)})
        ]
        problems += [f"{name} is missing" for name in ("data", "backbone") if name not in values]
        refuse("training options", problems)
        return cls(**{**values, "data": DataConfig.from_dict(values["data"])})


def _is_layer_count(text: str) -> bool:
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
