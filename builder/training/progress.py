"""Reports the progress and the validation figures of a Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from builder.progress import Progress

Round = Callable[[int, float], None]
"""Called after each validation with its number, counted on through both stages, and its figure.
What it raises ends the training."""


def ignore(_number: int, _figure: float) -> None:
    """Report nothing."""


class ReportProgress(TrainerCallback):
    """Tells how many steps are done, in place of the bar that the Trainer prints itself."""

    def __init__(self, task: str, progress: Progress) -> None:
        self._task = task
        self._progress = progress

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        self._progress(self._task, state.global_step, state.max_steps)


class ReportRound(TrainerCallback):
    """Tells the figure of each validation, one every ``steps``, numbered from ``first + 1``."""

    def __init__(self, on_round: Round, figure: str, *, first: int, steps: int) -> None:
        self._on_round = on_round
        self._figure = figure
        self._first = first
        self._steps = steps

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **told: Any,
    ) -> None:
        number = self._first + state.global_step // self._steps
        self._on_round(number, told["metrics"][f"eval_{self._figure}"])
