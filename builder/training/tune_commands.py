"""``python -m builder tune``."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from builder import console
from builder.config_file import config_text
from builder.errors import ConfigError
from builder.training.commands import train, training_config
from builder.training.search_space import search_space

if TYPE_CHECKING:
    from builder.training.tune import Found

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of the command: what it does not know are options of `train`."""


def tune(
    context: typer.Context,
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
        typer.Option(min=1, help="Trainings to try in all, those that the study has included."),
    ] = 30,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no other trial after this long. Default: no limit."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION[=VALUES]",
            help="An option of `train` to vary, with its values as LOW:HIGH or A,B,C: "
            "dropout=0.1:0.5, width=32,64. Give it once for each. Default: width, layers, dropout, "
            "id-dropout, both learning rates, weight-decay and freeze, around their defaults.",
        ),
    ] = None,
    best: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the best options go, as a file for `train --config`. Default: the study's "
            "name with .yaml.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write what was found as JSON, and no progress.")
    ] = False,
) -> None:
    """Search for better training options.

    Takes every option of `train` but --output, --resume and --track: they hold in all trials, and
    trial 0 is what they say. So this tries 30 trainings around a run, and trains with the best:

    python -m builder tune --config train.yaml --study runs/study.db

    python -m builder train --config runs/study.yaml --output runs/tuned

    A trial's figure is the mean of NDCG@10 of the whole model and by text alone on the validation
    users; test users are never looked at. One that is behind the median of the others after a
    validation is given up. Ctrl-C loses the trial that is under way; the same command goes on.

    The best of many is in part the luckiest: its validation figure promises too much. Train it with
    other seeds, and `compare` it on the test users with what you have.
    """
    options = _options_of_train(context)
    config = training_config(options.params, required=("data", "backbone"))
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
        best.write_text(config_text(options, found), "utf-8")

    console.quiet_transformers()
    study.parent.mkdir(parents=True, exist_ok=True)
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
    drawing = _draw(found, study.with_suffix(".svg"))
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


def _options_of_train(context: typer.Context) -> typer.Context:
    """What `tune` was given for `train`, read and checked as `train` itself does."""
    app = typer.Typer(add_completion=False)
    app.command()(train)
    command = typer.main.get_command(app)
    options = cast(
        "typer.Context",
        command.make_context(context.info_name, list(context.args), parent=context.parent),
    )
    own = [name for name in ("output", "resume", "print_config", "track") if options.params[name]]
    if own:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in own)
        raise ConfigError(f"{flags}: no option of tune; leave it out, of the --config file too")
    return options


def _draw(found: Found, file: Path) -> str | None:
    """Draw the trials where matplotlib is there, and there is something to draw."""
    if find_spec("matplotlib") is None or found.best is None:
        return None
    from builder.training.tune_report import drawing

    file.write_text(drawing(found), "utf-8")
    return str(file)
