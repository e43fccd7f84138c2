"""Experiment trackers that a training reports to, beside the TensorBoard files of every run.

The Hugging Face Trainer reports its own arguments, losses and validation figures to them. What it
does not know, the options of the run, is told by `TellOptions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

TRACKERS: Final = ("mlflow", "wandb")


class TellOptions(TrainerCallback):
    """Tells trackers the options of the run, under ``options/``; `end` closes a stage's run.

    To be added behind the callbacks of ``report_to``, which begin the run.
    """

    def __init__(self, trackers: Sequence[str], options: Mapping[str, Any]) -> None:
        self._trackers = trackers
        self._options = {f"options/{name}": value for name, value in options.items()}

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        if "mlflow" in self._trackers:
            import mlflow

            mlflow.log_params(self._options)
        if "wandb" in self._trackers:
            import wandb

            wandb.config.update(self._options)

    def end(self) -> None:
        """Without this the second stage would go on in the first one's run, from step 0 again."""
        if "wandb" in self._trackers:
            import wandb

            wandb.finish()


def untracked(trackers: Sequence[str]) -> list[str]:
    """What keeps any of `trackers` from being reported to; empty where nothing does."""
    problems = []
    for name in trackers:
        if name not in TRACKERS:
            problems.append(f"--track {name}: must be one of {', '.join(TRACKERS)}")
        elif find_spec(name) is None:
            problems.append(
                f"--track {name}: the package {name} is not installed; pip install {name}"
            )
    return problems
