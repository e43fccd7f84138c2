"""``python -m builder tune``."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from builder import console
from builder.config_file import ConfigFile, config_text
from builder.data.config import DataConfig
from builder.errors import ConfigError
from builder.options import Given, command
from builder.outputs import check_file
from builder.training.commands import Backbone, DataDirectory, training_config
from builder.training.config import TrainingConfig
from builder.training.search_space import search_space

if TYPE_CHECKING:
    from builder.training.tune import StudyResult

_OWN: Final = frozenset({"study", "trials", "minutes", "search", "best"})
"""Options that `train` does not have."""


@command
def tune(
    ctx: typer.Context,
    *,
    study: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="The study: an SQLite file that keeps every trial. An existing one is continued, "
            "with the same options.",
            dir_okay=False,
        ),
    ],
    trials: Annotated[
        int,
        typer.Option(min=1, help="Number of trials, those already in the study included."),
    ] = 30,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Start no further trial after this time. Default: no limit."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION[=VALUES]",
            help="An option of `train` to vary, with its values as LOW:HIGH or A,B,C: "
            "dropout=0.1:0.5, width=32,64. Repeatable. Default: width, layers, dropout, "
            "id-dropout, both learning rates, weight-decay and freeze, around their "
            "defaults.",
        ),
    ] = None,
    best: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File for the best options, which `train --config` reads. Default: the "
            "study's name with .yaml.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the result as JSON, and no progress.")
    ] = False,
    data: DataDirectory = None,
    backbone: Backbone = None,
    config_file: ConfigFile = None,  # noqa: ARG001 - its callback reads it
    data_options: Given[DataConfig],
    options: Given[TrainingConfig],
) -> None:
    """Search for better training options.

    The options of `train` hold in all trials; trial 0 changes none of them. This tries 30
    trainings, then trains with the best options:

    Example: python -m builder tune --config train.yaml --study runs/study.db

    Example: python -m builder train --config runs/study.yaml --output runs/tuned

    A trial's figure is the mean of NDCG@10 of the full model and by text alone on the validation
    users; test users are not used. A trial below the median of the others after a validation is
    stopped. Ctrl-C loses the current trial; the same command continues the study.

    The best of many trials is in part the luckiest, so its validation figure is too high. Train
    it with other seeds, and `compare` it with your present run on the test users.
    """
    config = training_config(data, backbone, data_options, options)
    space = search_space(config, search or ())
    if find_spec("optuna") is None:
        raise ConfigError(
            "tune searches with Optuna, which is not installed; pip install "
            "'tritonrec[builder,tune]'"
        )
    # Imported here: it takes seconds, and --help needs none of it.
    from builder.training.parallel import started_together
    from builder.training.tune import tune as run

    if started_together():
        raise ConfigError("tune runs in one process; start it without torchrun")

    best = best or study.with_suffix(".yaml")

    def write_best(found: dict[str, Any]) -> None:
        best.write_text(config_text(ctx, found, without=_OWN), "utf-8")

    console.quiet_transformers()
    study.parent.mkdir(parents=True, exist_ok=True)
    check_file(best, "--best")
    drawn = study.with_suffix(".svg")
    if find_spec("matplotlib") is not None:
        check_file(drawn, "--study")
    try:
        with console.progress_bars(shown=not as_json) as progress:
            found = run(
                config,
                space,
                study,
                trials=trials,
                seconds=None if minutes is None else 60 * minutes,
                on_best=write_best,
                progress=progress,
            )
    except KeyboardInterrupt:
        console.show_note("Interrupted. To continue, repeat the command.")
        raise typer.Exit(130) from None
    drawing = _draw(found, drawn)
    if as_json:
        files = {"study": str(study), "best": str(best), "drawing": drawing}
        typer.echo(json.dumps({**found.to_dict(), "files": files}))
        return
    from builder.training.tune_report import tables

    console.show(*tables(found))
    if drawing is not None:
        console.show_note(f"Drawn in {drawing}")
    if found.best is not None:
        console.show_note(f"Next: python -m builder train --config {best} --output RUN")


def _draw(result: StudyResult, file: Path) -> str | None:
    """Draw the trials where matplotlib is there, and there is something to draw."""
    if find_spec("matplotlib") is None or result.best is None:
        return None
    from builder.training.tune_report import drawing

    file.write_text(drawing(result), "utf-8")
    return str(file)
