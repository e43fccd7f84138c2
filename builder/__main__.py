"""``python -m builder``: from a log to a served model, one command a step."""

from __future__ import annotations

import sys

import typer

from builder import console, last_resort
from builder.classifier.commands import train_classifier
from builder.data.commands import app as data
from builder.demo.commands import demo
from builder.doctor.commands import doctor
from builder.errors import BuilderError
from builder.export.commands import add_items, export
from builder.reports.commands import baselines, compare, evaluate
from builder.repository.commands import activate, versions
from builder.serving.commands import serve
from builder.training.commands import train
from builder.training.tune_commands import SETTINGS, tune

app = typer.Typer(
    name="python -m builder",
    help="Turn a log of what users did into a live recommender on Triton.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data)
for command in (
    train,
    train_classifier,
    evaluate,
    compare,
    baselines,
    export,
    add_items,
    doctor,
    serve,
    versions,
    activate,
    demo,
):
    app.command()(command)
app.command(context_settings=SETTINGS)(tune)


def main() -> None:
    """Run a command; what goes wrong ends with one message, exit code 2 and no traceback."""
    console.set_up_logging()
    try:
        app()
    except BuilderError as error:
        console.show_error(str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody wants to read it as such
        console.show_error(last_resort.message(error), though_silent=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
