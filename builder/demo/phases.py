"""The phases of the demo, and how much time is left of all of them."""

from __future__ import annotations

from time import monotonic
from typing import Final

import typer

from builder.progress import Progress

_TASK: Final = "all of the demo, in seconds"


class Phases:
    """Announces phases, and adds a bar for all of them to that of each.

    Parameters
    ----------
    seconds
        What each phase takes on two cores, by its title and in order. Where one takes longer, the
        bar waits for it.
    """

    def __init__(self, seconds: dict[str, int]) -> None:
        self._seconds = seconds
        self._title = ""
        self._began = 0.0

    @property
    def _before(self) -> int:
        titles = list(self._seconds)
        return sum(self._seconds[each] for each in titles[: titles.index(self._title)])

    @property
    def _all(self) -> int:
        return sum(self._seconds.values())

    def begin(self, title: str) -> None:
        """Say which phase it is, and how long this and the others take together."""
        self._title, self._began = title, monotonic()
        number = list(self._seconds).index(title) + 1
        left = self._all - self._before
        shown = f"{round(left / 60)} min" if left >= 90 else f"{left} s"
        typer.echo(typer.style(f"{number}. {title}", bold=True) + f"  (about {shown} left)")

    def watched(self, progress: Progress) -> Progress:
        """The same, with a bar for all phases above that of what is done."""

        def show(task: str, done: int, total: int) -> None:
            spent = min(int(monotonic() - self._began), self._seconds[self._title])
            progress(_TASK, self._before + spent, self._all)
            progress(task, done, total)

        return show
