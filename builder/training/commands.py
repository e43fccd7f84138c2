"""``python -m builder train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from builder import console
from builder.config_file import ConfigFile, PrintConfig, config_text
from builder.data.config import DataConfig
from builder.errors import ConfigError
from builder.options import Given, command
from builder.training.config import TrainingConfig
from builder.unfinished_run import is_interrupted

DataDirectory = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The log and the items. Required.")
]
Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME_OR_PATH",
        help="The pretrained BERT to fine-tune: a Hugging Face directory or hub name. Required.",
    ),
]


def training_config(
    data: Path | None,
    backbone: str | None,
    data_options: Given[DataConfig],
    options: Given[TrainingConfig],
    **required: object,
) -> TrainingConfig:
    """The configuration that a command was given.

    Raises
    ------
    ConfigError
        The data, the backbone or something else that is `required` is None, or values make no
        sense.
    """
    warm_start = options.values["warm_start"]
    if warm_start is not None:
        warm_start = str(Path(warm_start).absolute())
        backbone = backbone or f"{warm_start}/encoder"
    needed = {"data": data, "backbone": backbone, **required}
    missing = " and ".join(f"--{name}" for name, value in needed.items() if value is None)
    if missing or data is None or backbone is None:
        raise ConfigError(f"{missing} must be given, here or in the --config file")
    return options.make(
        data=data_options.make(directory=data.absolute()),
        backbone=backbone,
        warm_start=warm_start,
    )


@command
def train(
    ctx: typer.Context,
    *,
    data: DataDirectory = None,
    backbone: Backbone = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="The checkpoint to write; must not exist. Required."),
    ] = None,
    config_file: ConfigFile = None,  # noqa: ARG001 - its callback reads it
    print_config: PrintConfig = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run; repeat its options.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the figures as JSON, and no progress.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="Train the best model in about this time. The stages are shortened so that all "
            "fits; what does not fit is left out, and the log says so. Repeat it with --resume: "
            "the time that the interrupted run took counts. Default: no limit.",
        ),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TRACKER",
            help="Report losses and validation figures to mlflow or wandb too, each stage as "
            "a run of its own. Their environment variables say where: "
            "MLFLOW_TRACKING_URI, WANDB_PROJECT and so on. Repeatable.",
        ),
    ] = None,
    data_options: Given[DataConfig],
    options: Given[TrainingConfig],
) -> None:
    """Fine-tune a BERT and the network on top of it for a log of events.

    First the network learns on the text vectors of the BERT as it is, then both learn together.
    Everything is chosen on validation events, and reported on test events (see --split). The
    commands evaluate and baselines set the model beside baselines.

    Example: python -m builder train --data data/ --backbone BERT --output runs/monday

    Several GPUs of a machine share the work of each step, with the same result, when torchrun
    starts the command: torchrun --nproc-per-node 2 -m builder train ...
    """
    if print_config:
        typer.echo(config_text(ctx), nl=False)
        return
    config = training_config(data, backbone, data_options, options, output=output)
    assert output is not None
    if budget is not None and not 0 < budget < float("inf"):
        raise ConfigError(f"--budget {budget:g}: must be a number of minutes above 0")
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
                rows = run(
                    config,
                    output,
                    resume=resume,
                    track=track or (),
                    minutes=budget,
                    progress=progress,
                )
        except KeyboardInterrupt:
            if is_interrupted(output):
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
