"""Tells how far a Trainer is."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from builder.progress import Progress


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
