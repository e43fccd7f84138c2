"""Terminal output: progress bars, tables, errors and log lines.

Results go to stdout; everything else goes to stderr, so that output can be piped. Progress is drawn
as bars where stderr is a terminal, and logged where it is not.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from builder.logged_progress import LoggedProgress
from builder.progress import Progress, silent

_HIDDEN_SECONDS: Final = 1.0
# One console for log lines and bars: only then do lines appear above a bar and not inside it.
_STDERR: Final = Console(stderr=True)


def set_up(level: int = logging.INFO) -> None:
    """Log to stderr, off a terminal one line an event; libraries only from WARNING up."""
    escape_what_the_terminal_lacks()
    handler: logging.Handler
    if _STDERR.is_terminal:
        handler = RichHandler(
            console=_STDERR, show_path=False, log_time_format="%H:%M:%S", omit_repeated_times=False
        )
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(_STDERR.file)
        handler.setFormatter(_OneLine("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(__package__).setLevel(level)


def escape_what_the_terminal_lacks() -> None:
    """Show a character escaped where the terminal's encoding does not have it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def silence() -> None:
    """Say nothing on stderr any more: another process of the same command speaks for this one."""
    _STDERR.quiet = True
    logging.disable(logging.CRITICAL)


def quiet_transformers() -> None:
    """Stop the bars that transformers draws by itself, terminal or not. Imports it."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


@contextmanager
def progress_bars(*, shown: bool = True) -> Iterator[Progress]:
    """Draw a bar for each task that the yielded `Progress` is told of, from its second second on.

    Where stderr is no terminal, long tasks are logged in place of that. Unless `shown`, nothing is.
    """
    if not (shown and _STDERR.is_terminal):
        yield LoggedProgress() if shown else silent
        return
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_STDERR,
    )
    tasks: dict[str, TaskID] = {}
    reached: dict[str, int] = {}
    began: dict[str, float] = {}

    def show(task: str, done: int, total: int) -> None:
        if task not in tasks:
            tasks[task] = bars.add_task(task, total=total, visible=False)
            began[task] = time.monotonic()
        elif done <= reached[task]:  # begun again, so the clock is too
            bars.reset(tasks[task])
        reached[task] = done
        visible = time.monotonic() - began[task] > _HIDDEN_SECONDS
        bars.update(tasks[task], completed=done, total=total, visible=visible)

    with bars:
        yield show


def output() -> Console:
    """What draws results on stdout. Text is shown as it is: what users write is no markup."""
    return Console(markup=False, highlight=False)


def show(*tables: Table) -> None:
    """Print tables to stdout, one below the other."""
    console = output()
    for table in tables:
        console.print(table, "")


def show_error(message: str, *, though_silent: bool = False) -> None:
    """Print what went wrong, to stderr.

    Where another process speaks for this one only ``though_silent``: what it cannot know of.
    """
    text = Text.assemble(("error: ", "bold red"), message)
    stderr = Console(stderr=True) if though_silent else _STDERR
    stderr.print(text, soft_wrap=True, highlight=False)


def show_note(message: str) -> None:
    """Print a line that is no result, such as what to do next, to stderr."""
    _STDERR.print(Text(message), soft_wrap=True, highlight=False)
