"""``python -m builder train``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from builder import console
from builder.config_file import ConfigFile, PrintConfig, config_text
from builder.data.options import (
    ColumnMap,
    Context,
    DataFormat,
    InteractionsFile,
    ItemProfileColumns,
    ItemsFile,
    ItemVectors,
    MinEvents,
    MinRating,
    ProfileColumns,
    RequestTime,
    TargetActions,
    TextTemplate,
    TimeZone,
    UsersFile,
    data_config,
)
from builder.errors import ConfigError
from builder.training import options
from builder.training.config import TrainingConfig, partial_directory

_DEFAULT = TrainingConfig
_OF_DATA: Final = (
    "data_format", "interactions", "items", "users", "column", "text", "min_rating",
    "target_actions", "context", "min_events", "profile", "item_profile", "item_vectors",
    "request_time", "time_zone",
)  # fmt: skip


def training_config(given: Mapping[str, Any], *, required: Sequence[str]) -> TrainingConfig:
    """The configuration that the options of `train` ask for, by the names of its parameters.

    Raises
    ------
    ConfigError
        A required option is missing, or values make no sense.
    """
    warm_start = given["warm_start"]
    if warm_start is not None:
        warm_start = str(Path(warm_start).absolute())
        given = {**given, "backbone": given["backbone"] or f"{warm_start}/encoder"}
    if any(given[name] is None for name in required):
        *first, last = (f"--{name}" for name in required)
        raise ConfigError(
            f"{', '.join(first)} and {last} must be given, here or in the --config file"
        )
    special = {
        "data": data_config(Path(given["data"]), **{name: given[name] for name in _OF_DATA}),
        "backbone": given["backbone"],
        "warm_start": warm_start,
    }
    plain = {field.name for field in fields(TrainingConfig)} - set(special)
    return TrainingConfig(**special, **{name: given[name] for name in plain})


def train(
    ctx: typer.Context,
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The log and the items. Required.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_PATH",
            help="The pretrained BERT to fine-tune: a Hugging Face directory or hub name. "
            "Required.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="The checkpoint to write; must not exist. Required."),
    ] = None,
    config_file: ConfigFile = None,
    print_config: PrintConfig = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, with its own options.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the figures as JSON, and no progress.")
    ] = False,
    track: options.Track = None,
    data_format: DataFormat = "auto",
    interactions: InteractionsFile = None,
    items: ItemsFile = None,
    users: UsersFile = None,
    column: ColumnMap = None,
    text: TextTemplate = None,
    min_rating: MinRating = None,
    target_actions: TargetActions = None,
    context: Context = "keep",
    min_events: MinEvents = 1,
    profile: ProfileColumns = None,
    item_profile: ItemProfileColumns = None,
    item_vectors: ItemVectors = None,
    request_time: RequestTime = None,
    time_zone: TimeZone = "UTC",
    split: options.SplitMethod = _DEFAULT.split,
    hold_out_items: options.HoldOutItems = _DEFAULT.hold_out_items,
    refit: options.Refit = _DEFAULT.refit,
    pooling: options.Pooling = _DEFAULT.pooling,
    max_length: options.MaxLength = _DEFAULT.max_length,
    mlm_epochs: options.MlmEpochs = _DEFAULT.mlm_epochs,
    width: options.Width = _DEFAULT.width,
    layers: options.Layers = _DEFAULT.layers,
    heads: options.Heads = _DEFAULT.heads,
    dropout: options.Dropout = _DEFAULT.dropout,
    max_history: options.MaxHistory = _DEFAULT.max_history,
    linear_entries: options.LinearEntries = _DEFAULT.linear_entries,
    cold_cost: options.ColdCost = _DEFAULT.cold_cost,
    epochs: options.Epochs = _DEFAULT.epochs,
    learning_rate: options.LearningRate = _DEFAULT.learning_rate,
    freeze: options.Freeze = _DEFAULT.freeze,
    tune_epochs: options.TuneEpochs = _DEFAULT.tune_epochs,
    tune_learning_rate: options.TuneLearningRate = _DEFAULT.tune_learning_rate,
    tune_texts: options.TuneTexts = _DEFAULT.tune_texts,
    lora_rank: options.LoraRank = _DEFAULT.lora_rank,
    adversarial: options.Adversarial = _DEFAULT.adversarial,
    text_pull: options.TextPull = _DEFAULT.text_pull,
    loss: options.LossKind = _DEFAULT.loss,
    label_smoothing: options.LabelSmoothing = _DEFAULT.label_smoothing,
    contrastive: options.Contrastive = _DEFAULT.contrastive,
    task_weights: options.TaskWeights = _DEFAULT.task_weights,
    id_dropout: options.IdDropout = _DEFAULT.id_dropout,
    feature_dropout: options.FeatureDropout = _DEFAULT.feature_dropout,
    patience: options.Patience = _DEFAULT.patience,
    batch_size: options.BatchSize = _DEFAULT.batch_size,
    accumulate: options.Accumulate = _DEFAULT.accumulate,
    precision: options.Precision = _DEFAULT.precision,
    schedule: options.Schedule = _DEFAULT.schedule,
    weight_decay: options.WeightDecay = _DEFAULT.weight_decay,
    warmup_epochs: options.WarmupEpochs = _DEFAULT.warmup_epochs,
    warm_start: options.WarmStart = _DEFAULT.warm_start,
    seed: options.Seed = _DEFAULT.seed,
) -> None:
    """Fine-tune a BERT and the network on top of it for a log of events.

    First the network learns on the text vectors of the BERT as it is, then both learn together.
    Everything is chosen on validation events, and reported on test events (see --split).

    Several GPUs of a machine share the work of each step, with the same result, when torchrun
    starts the command:

    torchrun --nproc-per-node 2 -m builder train --data data/ --backbone BERT --output runs/monday
    """
    if print_config:
        typer.echo(config_text(ctx), nl=False)
        return
    config = training_config(ctx.params, required=("data", "backbone", "output"))
    output = Path(ctx.params["output"])
    # Imported here: it takes seconds, and --help needs none of it.
    from builder.evaluation.figures_table import figures_table
    from builder.evaluation.report import PROTOCOL
    from builder.training.parallel import is_main, processes
    from builder.training.run import train as run

    console.quiet_transformers()
    with processes():
        if not is_main():
            console.silence()
        shown = is_main() and not as_json
        try:
            with console.progress_bars(shown=shown) as progress:
                rows = run(config, output, resume=resume, track=track or (), progress=progress)
        except KeyboardInterrupt:
            if partial_directory(output).is_dir():
                console.show_note("Interrupted. To continue, repeat the command with --resume.")
            raise typer.Exit(130) from None
        if not is_main():
            return
    if as_json:
        figures = [row.to_dict() for row in rows]
        typer.echo(json.dumps({"output": str(output), "protocol": PROTOCOL, "rows": figures}))
        return
    console.show(figures_table(rows, PROTOCOL))
    console.show_note(f"Next: python -m builder export --checkpoint {output}")
