"""The commands of ``python -m builder``: from a log to a served model, one a step."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from builder import console, unexpected_errors
from builder.classifier.commands import train_classifier
from builder.demo.commands import demo
from builder.doctor.commands import doctor
from builder.errors import BuilderError
from builder.export.commands import add_items, export
from builder.export.policy_commands import app as policy
from builder.play.commands import play
from builder.reports.commands import baselines, compare, evaluate
from builder.reports.data_commands import app as data
from builder.repository.commands import activate, versions
from builder.serving.commands import serve
from builder.serving.rules_commands import app as rules
from builder.serving.status_commands import status
from builder.training.commands import train
from builder.training.tune_commands import tune

app = typer.Typer(
    help="Turn a log of what users did into a live recommender on Triton.",
    epilog="Completion in your shell: tritonrec --install-completion",
    no_args_is_help=True,
    add_completion=Path(sys.argv[0]).name != "__main__.py",  # a shell completes no `python -m`
    pretty_exceptions_enable=False,
)
app.add_typer(data)
app.add_typer(policy)
app.add_typer(rules)
for each in (
    train,
    train_classifier,
    tune,
    evaluate,
    compare,
    baselines,
    export,
    add_items,
    doctor,
    serve,
    status,
    versions,
    activate,
    demo,
    play,
):
    app.command()(each)


def main() -> None:
    """Run a command; what goes wrong ends with one message, exit code 2 and no traceback."""
    console.set_up()
    try:
        app()
    except BuilderError as error:
        console.show_error(str(error))
    except Exception as error:  # noqa: BLE001 - a traceback helps no user
        console.show_error(unexpected_errors.message(error), though_silent=True)
    sys.exit(2)
