"""What a training run is asked to do; each option is a flag of ``train`` and ``tune`` as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from builder.data.config import DataConfig
from builder.data.splits import Method
from builder.errors import ConfigError
from builder.model.pooling import Pooling
from builder.options import check, option, refuse

LossKind = Literal["softmax", "sampled"]
TaskWeighting = Literal["fixed", "uncertainty"]
Precision = Literal["fp32", "bf16"]
Schedule = Literal["auto", "constant", "linear", "cosine"]
Refit = Literal["auto", "none", "all"]
_FREEZE: Final = ("all", "embeddings", "none")
_FORMERLY: Final = frozenset({"tune_layers", "optimiser", "layer_decay", "adversarial_steps"})
"""Options of earlier versions; their runs can be read without them."""

_PROTOCOL: Final = "What is held out"
_TEXT: Final = "Text"
_NETWORK: Final = "Network"
_FIRST: Final = "First stage: the network on frozen text vectors"
_SECOND: Final = "Second stage: BERT and the network together"
_BOTH: Final = "Both stages"
_EXPERIMENTAL: Final = "Experimental: not shown to help, see docs/quality.md"


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    None leaves an option to `builder.training.adapt`, which goes by the size of the data. Raises
    `ConfigError` for values that make no sense, all of them in one message.

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
        "temporal: two moments in time, the same for everyone, before which 80 % and 90 % of the "
        "events lie; nothing is learnt from what came later.",
        panel=_PROTOCOL,
    )
    hold_out_items: float = option(
        0.0,
        "Items of which training sees no event, so that `evaluate` can tell how well items are "
        "recommended from their text alone; 0.1 is usual. Not for a model that is to serve.",
        panel=_PROTOCOL, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    refit: Refit = option(
        "auto",
        "Train a second time once everything is chosen, and keep that model. auto: on the "
        "validation events too, where they are more than a twentieth of the others. all: on the "
        "test events too, for the model that is to serve; its table is that of the first training, "
        "and `evaluate` refuses it. none: not at all.",
        panel=_PROTOCOL,
    )

    pooling: Pooling = option(
        "mean",
        "How token states become one vector: mean of all; cls, the first; or attention, a learned "
        "weighting. Sentence encoders want mean.",
        panel=_TEXT,
    )
    max_length: int = option(
        64,
        "Longest text; what lies beyond is cut. `data describe --backbone` shows how long yours "
        "are, and cost grows with it.",
        panel=_TEXT, metavar="TOKENS", at_least=3,
    )  # fmt: skip

    width: int = option(
        64,
        "Numbers in an item vector. More can hold more and needs more events to learn.",
        panel=_NETWORK, at_least=1,
    )  # fmt: skip
    layers: int = option(2, "Transformer layers over the history.", panel=_NETWORK, at_least=1)
    heads: int = option(
        2, "Attention heads of each; they divide the width.", panel=_NETWORK, at_least=1
    )
    dropout: float = option(
        0.4,
        "Activations left out at random. Raise it when validation falls while the training loss "
        "still does.",
        panel=_NETWORK, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    max_history: int | None = option(
        None,
        "Of a longer history the last ones count. Default: what 95 % of the users have, 20 to "
        "100.",
        panel=_NETWORK, metavar="EVENTS", at_least=1,
    )  # fmt: skip
    linear_entries: int = option(
        256,
        "Entries kept of each row of the linear term, which says which items are seen together.",
        panel=_NETWORK, at_least=1,
    )  # fmt: skip
    cold_cost: float = option(
        0.04,
        "How much of the validation NDCG@10 items without training events may cost the others by "
        "being recommended too; less where such items are few. 0 keeps them out of the first ten.",
        panel=_NETWORK, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip

    epochs: int = option(100, "At most this many passes over the log.", panel=_FIRST, at_least=1)
    learning_rate: float = option(1e-3, "Of the network, in both stages.", panel=_FIRST, above=0)

    freeze: str = option(
        "-2",
        "What of BERT stays as it is: all; embeddings; none; N, the lowest N layers; or -N, all "
        "but the last N. What the frozen layers make of a text is computed once and kept in "
        "memory.",
        panel=_SECOND, metavar="WHAT",
    )  # fmt: skip
    tune_epochs: int | None = option(
        None,
        "At most this many passes over the log; 0 leaves the stage out. Default: as many as make "
        "300 steps.",
        panel=_SECOND, at_least=0,
    )  # fmt: skip
    tune_learning_rate: float = option(
        2e-4, "Of the BERT layers; small, since they know a language already.",
        panel=_SECOND, above=0,
    )  # fmt: skip
    tune_texts: int | None = option(
        None,
        "Texts that learn in a step; the others are taken as they last came out. Fewer cost less. "
        "Default: 64 to 512, the fewer the longer they are.",
        panel=_SECOND, at_least=1,
    )  # fmt: skip

    loss: LossKind = option(
        "softmax",
        "softmax over the catalogue, above 8,192 items over a sample of it; sampled: always over "
        "a sample.",
        panel=_BOTH,
    )
    id_dropout: float = option(
        0.2,
        "Items known by their text alone in a step. Higher serves new items, lower known ones.",
        panel=_BOTH, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    feature_dropout: float = option(
        0.2,
        "Histories without their actions, without their times, and users and items without their "
        "profile, vectors or a column of these, in a step, so that they may be missing.",
        panel=_BOTH, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    patience: int | None = option(
        None,
        "A stage ends after this many validations, one an epoch or every 200 steps, without a "
        "better NDCG@10, and its best state is kept. Default: 5 to 15, as many as make 270 steps.",
        panel=_BOTH, metavar="TIMES", at_least=1,
    )  # fmt: skip
    batch_size: int | None = option(
        None,
        "Histories in a step. Default: about 3,000 events, and at least 16 steps an epoch.",
        panel=_BOTH, at_least=1,
    )  # fmt: skip
    accumulate: int = option(
        1,
        "Take each batch in so many pieces, one after the other, for less memory. The loss is "
        "that of the full batch all the same.",
        panel=_BOTH, metavar="PIECES", at_least=1,
    )  # fmt: skip
    precision: Precision = option(
        "fp32",
        "fp32; or bf16, in which BERT and the layers over the history then run, for speed and "
        "memory on a GPU that has it. Weights, logits and losses stay FP32, in the run as well.",
        panel=_BOTH,
    )
    schedule: Schedule = option(
        "auto",
        "What becomes of the learning rate after the warm-up: constant; linear or cosine, to 0 by "
        "the last epoch. auto: constant in the first stage, which ends by patience, and linear in "
        "the second.",
        panel=_BOTH,
    )
    weight_decay: float = option(0.01, "Biases and norms have none.", panel=_BOTH, at_least=0)
    warmup_epochs: float = option(
        2.0, "Until the learning rate has its full height.", panel=_BOTH, at_least=0
    )
    warm_start: str | None = option(
        None,
        "Continue from a finished run with a longer log or a larger catalogue: its BERT, its "
        "network and what it knows of each item are where training starts. The second stage is "
        "left out unless --tune-epochs asks for it.",
        panel=_BOTH, metavar="RUN",
    )  # fmt: skip
    seed: int = option(
        0, "The same seed gives the same metrics.", panel=_BOTH, at_least=0, below=2**32
    )

    mlm_epochs: int = option(
        0,
        "Before anything else, so many passes over the items' texts in which BERT guesses masked "
        "words: for a backbone that has never read the like of them.",
        panel=_EXPERIMENTAL, at_least=0,
    )  # fmt: skip
    lora_rank: int = option(
        0,
        "Layers of BERT learn by updates of this rank, which are merged in at the end, and not by "
        "all of their weights; 8 is usual, 0 for none. Needs the extra `lora`.",
        panel=_EXPERIMENTAL, metavar="RANK", at_least=0,
    )  # fmt: skip
    adversarial: float = option(
        0.0,
        "After a quarter of the second stage, learn from each text a second time, with word "
        "embeddings moved this far in the direction that hurts most; 0.5 is usual, 0 for none. "
        "Needs --freeze none, and twice the time.",
        panel=_EXPERIMENTAL, metavar="LENGTH", at_least=0,
    )  # fmt: skip
    label_smoothing: float = option(
        0.0,
        "Of each next item that is given to all items alike, against overconfidence; 0.1 is "
        "usual.",
        panel=_EXPERIMENTAL, metavar="SHARE", at_least=0, below=1,
    )  # fmt: skip
    contrastive: float = option(
        0.0,
        "Of a further loss: the text of each item of a step has to tell it from the others. For "
        "catalogues with many new items.",
        panel=_EXPERIMENTAL, metavar="WEIGHT", at_least=0,
    )  # fmt: skip
    text_pull: float = option(
        1.0,
        "Of the further loss of the second stage by which each text is drawn to where its item "
        "is, beside 1 for the next item; 0 leaves it out.",
        panel=_EXPERIMENTAL, metavar="WEIGHT", at_least=0,
    )  # fmt: skip
    task_weights: TaskWeighting = option(
        "fixed",
        "How the next item, the contrastive loss and the pull of texts are weighed against each "
        "other: fixed, by 1, --contrastive and --text-pull; or uncertainty, which starts there "
        "and learns to count each task the less the larger its loss stays.",
        panel=_EXPERIMENTAL,
    )

    def __post_init__(self) -> None:
        layers = self.freeze not in _FREEZE and not _is_layer_count(self.freeze)
        wrong = {
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


PARTIAL: Final = ".partial"
"""What is appended to the output's name until the run is complete."""


def partial_directory(output: Path) -> Path:
    """Where a run lives until it is complete and takes its own name."""
    return output.with_name(output.name + PARTIAL)
