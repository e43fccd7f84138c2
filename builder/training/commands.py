"""``python -m builder train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from builder import console
from builder.config_file import ConfigFile, PrintConfig, config_text
from builder.data.options import (
    ColumnMap,
    DataFormat,
    InteractionsFile,
    ItemsFile,
    MinEvents,
    MinRating,
    ProfileColumns,
    TextTemplate,
    UsersFile,
    data_config,
)
from builder.errors import ConfigError
from builder.training import options
from builder.training.config import TrainingConfig, partial_directory

_DEFAULT = TrainingConfig


def train(
    context: typer.Context,
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
    config_file: ConfigFile = None,  # noqa: ARG001 - it has set the defaults of the others
    print_config: PrintConfig = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, with its own options.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the figures as JSON, and no progress.")
    ] = False,
    data_format: DataFormat = "auto",
    interactions: InteractionsFile = None,
    items: ItemsFile = None,
    users: UsersFile = None,
    column: ColumnMap = None,
    text: TextTemplate = None,
    min_rating: MinRating = None,
    min_events: MinEvents = 1,
    profile: ProfileColumns = None,
    split: options.SplitMethod = _DEFAULT.split,
    hold_out_items: options.HoldOutItems = _DEFAULT.hold_out_items,
    pooling: options.Pooling = _DEFAULT.pooling,
    max_length: options.MaxLength = _DEFAULT.max_length,
    width: options.Width = _DEFAULT.width,
    layers: options.Layers = _DEFAULT.layers,
    heads: options.Heads = _DEFAULT.heads,
    dropout: options.Dropout = _DEFAULT.dropout,
    max_history: options.MaxHistory = _DEFAULT.max_history,
    linear_entries: options.LinearEntries = _DEFAULT.linear_entries,
    epochs: options.Epochs = _DEFAULT.epochs,
    learning_rate: options.LearningRate = _DEFAULT.learning_rate,
    tune_layers: options.TuneLayers = _DEFAULT.tune_layers,
    tune_epochs: options.TuneEpochs = _DEFAULT.tune_epochs,
    tune_learning_rate: options.TuneLearningRate = _DEFAULT.tune_learning_rate,
    tune_texts: options.TuneTexts = _DEFAULT.tune_texts,
    id_dropout: options.IdDropout = _DEFAULT.id_dropout,
    feature_dropout: options.FeatureDropout = _DEFAULT.feature_dropout,
    patience: options.Patience = _DEFAULT.patience,
    batch_size: options.BatchSize = _DEFAULT.batch_size,
    weight_decay: options.WeightDecay = _DEFAULT.weight_decay,
    warmup_epochs: options.WarmupEpochs = _DEFAULT.warmup_epochs,
    warm_start: options.WarmStart = _DEFAULT.warm_start,
    seed: options.Seed = _DEFAULT.seed,
) -> None:
    """Fine-tune a BERT and the network on top of it for a log of events.

    First the network learns on the text vectors of the BERT as it is, then both learn together.
    Everything is chosen on validation events, and reported on test events (see --split).
    """
    if print_config:
        typer.echo(config_text(context), nl=False)
        return
    if warm_start is not None and backbone is None:
        backbone = str(Path(warm_start, "encoder").absolute())
    if data is None or backbone is None or output is None:
        raise ConfigError(
            "train: --data, --backbone and --output must be given, here or in the --config file"
        )
    data_set = data_config(
        data,
        data_format=data_format,
        interactions=interactions,
        items=items,
        users=users,
        column=column,
        text=text,
        min_rating=min_rating,
        min_events=min_events,
        profile=profile,
    )
    config = TrainingConfig(
        data=data_set,
        backbone=backbone,
        split=split,
        hold_out_items=hold_out_items,
        pooling=pooling,  # type: ignore[arg-type] # checked there
        max_length=max_length,
        width=width,
        layers=layers,
        heads=heads,
        dropout=dropout,
        max_history=max_history,
        linear_entries=linear_entries,
        epochs=epochs,
        learning_rate=learning_rate,
        tune_layers=tune_layers,
        tune_epochs=tune_epochs,
        tune_learning_rate=tune_learning_rate,
        tune_texts=tune_texts,
        id_dropout=id_dropout,
        feature_dropout=feature_dropout,
        patience=patience,
        batch_size=batch_size,
        weight_decay=weight_decay,
        warmup_epochs=warmup_epochs,
        warm_start=None if warm_start is None else str(Path(warm_start).absolute()),
        seed=seed,
    )
    # Imported here: it takes seconds, and --help needs none of it.
    from builder.evaluation.report import PROTOCOL
    from builder.training.run import train as run

    console.quiet_transformers()
    try:
        with console.progress_bars(shown=not as_json) as progress:
            rows = run(config, output, resume=resume, progress=progress)
    except KeyboardInterrupt:
        if partial_directory(output).is_dir():
            console.show_note("Interrupted. To continue, repeat the command with --resume.")
        raise typer.Exit(130) from None
    if as_json:
        figures = [row.to_dict() for row in rows]
        typer.echo(json.dumps({"output": str(output), "protocol": PROTOCOL, "rows": figures}))
        return
    console.show_figures(rows, caption=PROTOCOL)
    console.show_note(f"Next: python -m builder export --checkpoint {output}")
