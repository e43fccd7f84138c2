"""The command line options of a training run, one for each field of `TrainingConfig`.

The defaults are the dataclass's own: ``epochs: Epochs = TrainingConfig.epochs``.
"""

from __future__ import annotations

from typing import Annotated

import typer

_PROTOCOL = "What is held out"
_TEXT = "Text"
_NETWORK = "Network"
_FIRST = "First stage: the network on frozen text vectors"
_SECOND = "Second stage: BERT and the network together"
_BOTH = "Both stages"

Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="TRACKER",
        help="Report losses and validation figures to mlflow or wandb too, each stage as a run of "
        "its own. Where to is theirs to say: MLFLOW_TRACKING_URI, WANDB_PROJECT and so on. Give "
        "it once for each.",
    ),
]
SplitMethod = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="METHOD",
        help="leave-one-out: each user's last event is the test and the one before it validation. "
        "temporal: two moments in time, the same for everyone, before which 80 % and 90 % of the "
        "events lie; nothing is learnt from what came later.",
        rich_help_panel=_PROTOCOL,
    ),
]
HoldOutItems = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Items of which training sees no event, so that `evaluate` can tell how well items "
        "are recommended from their text alone; 0.1 is usual. Not for a model that is to serve.",
        rich_help_panel=_PROTOCOL,
    ),
]
Refit = Annotated[
    str,
    typer.Option(
        metavar="WHAT",
        help="Train a second time once everything is chosen, and keep that model. auto: on the "
        "validation events too, where they are more than a twentieth of the others. all: on the "
        "test events too, for the model that is to serve; its table is that of the first training, "
        "and `evaluate` refuses it. none: not at all.",
        rich_help_panel=_PROTOCOL,
    ),
]
Pooling = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="How token states become one vector: mean of all; cls, the first; or attention, a "
        "learned weighting. Sentence encoders want mean.",
        rich_help_panel=_TEXT,
    ),
]
MlmEpochs = Annotated[
    int,
    typer.Option(
        help="Before anything else, so many passes over the items' texts in which BERT guesses "
        "masked words: for a backbone that has never read the like of them.",
        rich_help_panel=_TEXT,
    ),
]
MaxLength = Annotated[
    int,
    typer.Option(
        metavar="TOKENS",
        help="Longest text; what lies beyond is cut. `data describe --backbone` shows how long "
        "yours are, and cost grows with it.",
        rich_help_panel=_TEXT,
    ),
]
Width = Annotated[
    int,
    typer.Option(
        help="Numbers in an item vector. More can hold more and needs more events to learn.",
        rich_help_panel=_NETWORK,
    ),
]
Layers = Annotated[
    int, typer.Option(help="Transformer layers over the history.", rich_help_panel=_NETWORK)
]
Heads = Annotated[
    int,
    typer.Option(help="Attention heads of each; they divide the width.", rich_help_panel=_NETWORK),
]
Dropout = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Activations left out at random. Raise it when validation falls while the training "
        "loss still does.",
        rich_help_panel=_NETWORK,
    ),
]
MaxHistory = Annotated[
    int | None,
    typer.Option(
        metavar="EVENTS",
        help="Of a longer history the last ones count. Default: what 95 % of the users have, 20 to "
        "100.",
        rich_help_panel=_NETWORK,
    ),
]
LinearEntries = Annotated[
    int,
    typer.Option(
        help="Entries kept of each row of the linear term, which says what is met together.",
        rich_help_panel=_NETWORK,
    ),
]
ColdCost = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="How much of the validation NDCG@10 items without training events may cost the "
        "others by being recommended too; 0 keeps them out of the first ten.",
        rich_help_panel=_NETWORK,
    ),
]
Epochs = Annotated[
    int, typer.Option(help="At most this many passes over the log.", rich_help_panel=_FIRST)
]
LearningRate = Annotated[
    float, typer.Option(help="Of the network, in both stages.", rich_help_panel=_FIRST)
]
Freeze = Annotated[
    str,
    typer.Option(
        metavar="WHAT",
        help="What of BERT stays as it is: all; embeddings; none; N, the lowest N layers; or -N, "
        "all but the last N. What the frozen layers make of a text is computed once and kept in "
        "memory.",
        rich_help_panel=_SECOND,
    ),
]
TuneEpochs = Annotated[
    int | None,
    typer.Option(
        help="At most this many passes over the log; 0 leaves the stage out. Default: as many as "
        "make 300 steps.",
        rich_help_panel=_SECOND,
    ),
]
TuneLearningRate = Annotated[
    float,
    typer.Option(
        help="Of the BERT layers; small, since they know a language already.",
        rich_help_panel=_SECOND,
    ),
]
TuneTexts = Annotated[
    int | None,
    typer.Option(
        help="Texts that learn in a step; the others are taken as they last came out. Fewer cost "
        "less. Default: 64 to 512, the fewer the longer they are.",
        rich_help_panel=_SECOND,
    ),
]
LoraRank = Annotated[
    int,
    typer.Option(
        metavar="RANK",
        help="Layers learn by updates of this rank, which are merged in at the end, and not by all "
        "of their weights; 8 is usual, 0 for none. Needs the extra `lora`.",
        rich_help_panel=_SECOND,
    ),
]
Adversarial = Annotated[
    float,
    typer.Option(
        metavar="LENGTH",
        help="After a quarter of the stage, learn from each text a second time, with word "
        "embeddings moved this far in the direction that hurts most; 0.5 is usual, 0 for none. "
        "Needs --freeze none, and twice the time.",
        rich_help_panel=_SECOND,
    ),
]
TextPull = Annotated[
    float,
    typer.Option(
        metavar="WEIGHT",
        help="Of the further loss by which each text is drawn to where its item is, beside 1 for "
        "the next item; 0 leaves it out.",
        rich_help_panel=_SECOND,
    ),
]
LossKind = Annotated[
    str,
    typer.Option(
        "--loss",
        metavar="KIND",
        help="softmax over the catalogue, above 8,192 items over a sample of it; sampled: always "
        "over a sample.",
        rich_help_panel=_BOTH,
    ),
]
LabelSmoothing = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Of each next item that is given to all items alike, against overconfidence; 0.1 is "
        "usual.",
        rich_help_panel=_BOTH,
    ),
]
Contrastive = Annotated[
    float,
    typer.Option(
        metavar="WEIGHT",
        help="Of a further loss: the text of each item of a step has to tell it from the others. "
        "For catalogues with many new items.",
        rich_help_panel=_BOTH,
    ),
]
TaskWeights = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="How the next item, the contrastive loss and the pull of texts are weighed against "
        "each other: fixed, by 1, --contrastive and --text-pull; or uncertainty, which starts "
        "there and learns to count each task the less the larger its loss stays.",
        rich_help_panel=_BOTH,
    ),
]
IdDropout = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Items known by their text alone in a step. Higher serves new items, lower known "
        "ones.",
        rich_help_panel=_BOTH,
    ),
]
FeatureDropout = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Histories without their actions, without their times, and users and items without "
        "their profile, vectors or a column of these, in a step, so that they may be missing.",
        rich_help_panel=_BOTH,
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        metavar="TIMES",
        help="A stage ends after this many validations, one an epoch or every 200 steps, without a "
        "better NDCG@10, and its best state is kept. Default: 5 to 15, as many as make 270 steps.",
        rich_help_panel=_BOTH,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        help="Histories in a step. Default: about 3,000 events, and at least 16 steps an epoch.",
        rich_help_panel=_BOTH,
    ),
]
Accumulate = Annotated[
    int,
    typer.Option(
        metavar="PIECES",
        help="Take each batch in so many pieces, one after the other, for less memory. The loss is "
        "that of the whole batch all the same.",
        rich_help_panel=_BOTH,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="fp32; or bf16, in which BERT and the layers over the history then run, for speed and "
        "memory on a GPU that has it. Weights, logits and losses stay FP32, in the run as well.",
        rich_help_panel=_BOTH,
    ),
]
Schedule = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="What becomes of the learning rate after the warm-up: constant; linear or cosine, to "
        "0 by the last epoch. auto: constant in the first stage, which ends by patience, and "
        "linear in the second.",
        rich_help_panel=_BOTH,
    ),
]
WeightDecay = Annotated[
    float, typer.Option(help="Biases and norms have none.", rich_help_panel=_BOTH)
]
WarmupEpochs = Annotated[
    float,
    typer.Option(help="Until the learning rate has its full height.", rich_help_panel=_BOTH),
]
Seed = Annotated[
    int, typer.Option(help="The same seed gives the same metrics.", rich_help_panel=_BOTH)
]
WarmStart = Annotated[
    str | None,
    typer.Option(
        "--warm-start",
        metavar="RUN",
        help="Continue from a finished run with a longer log or a larger catalogue: its BERT, its "
        "network and what it knows of each item are where training starts. The second stage is "
        "left out unless --tune-epochs asks for it.",
        rich_help_panel=_BOTH,
    ),
]
