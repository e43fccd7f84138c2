"""``python -m perf``: the measurements, each a command of its own."""

from __future__ import annotations

import signal
import sys

import grpc
import typer

from builder import console, unexpected_errors
from builder.errors import BuilderError
from client import RecommenderError
from perf.alike import alike
from perf.analyze import analyze
from perf.cancelled import cancelled
from perf.catalogue import catalogue
from perf.client_overhead import client_overhead
from perf.closed_form import closed_form
from perf.engines import engines
from perf.errors import PerfError
from perf.exploration import exploration
from perf.expressions import expressions
from perf.faithfulness import faithfulness
from perf.faults import faults
from perf.filters import filters
from perf.first_events import first_events
from perf.fuzz import fuzz
from perf.large_training import large_training
from perf.late import late
from perf.observe import observe
from perf.overload import overload
from perf.policy import policy
from perf.profile import profile
from perf.quality import quality
from perf.reading import reading
from perf.related import related
from perf.request_options import request_options
from perf.run import plot, run, table
from perf.soak import soak
from perf.trend_age import trend_age
from perf.uncertainty import uncertainty

app = typer.Typer(
    help="Measure the recommender, beside other systems and piece by piece.\n\n"
    "Start with `run --quick`, which takes two minutes and shows what a full run does.",
    no_args_is_help=True,
    add_completion=False,  # a shell completes no `python -m`
    pretty_exceptions_enable=False,
)
for each in (
    run, table, plot, analyze, profile, soak, catalogue, client_overhead, engines, reading, faults,
    overload, fuzz, quality, cancelled, late, trend_age, observe,
    expressions, faithfulness, request_options, exploration, uncertainty, policy, filters,
    related, alike, first_events, closed_form, large_training,
):  # fmt: skip
    app.command()(each)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code, 1 with what went wrong on standard error."""
    console.escape_what_the_terminal_lacks()
    # As Ctrl-C does, so that servers and peers end with us.
    earlier = signal.signal(signal.SIGTERM, _stop)
    try:
        app(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    except Exception as error:  # noqa: BLE001 - a traceback helps no user
        console.show_error(_message(error))
    finally:
        signal.signal(signal.SIGTERM, earlier)
    return 1


def _message(error: Exception) -> str:
    match error:
        case PerfError() | BuilderError() | RecommenderError() | OSError():
            return str(error)
        case grpc.RpcError() if isinstance(error, grpc.Call):
            return f"the server did not answer: {error.details()}"
    return unexpected_errors.message(error, "python -m perf")


def _stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
