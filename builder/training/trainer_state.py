"""When a Trainer ends by patience, and which of its saved states it can go on from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from builder.training.parallel import world

_STATE_FILES: Final = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "trainer_state.json",
)


class Patience(TrainerCallback):
    """Ends a training some steps after its best validation.

    Unlike transformers' `EarlyStoppingCallback` it counts from the saved state alone, so that a
    resumed run ends where it would have ended.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_save(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        control.should_training_stop |= self.has_run_out(state)

    def has_run_out(self, state: TrainerState) -> bool:
        return state.global_step - (state.best_global_step or 0) >= self._steps


def last_state(directory: Path, patience: Patience | None) -> str | None:
    """The newest state to continue from; those that are none are removed.

    That is what was cut short while it was written or removed, and a state at which the training
    had ended: it would go on from it. From the one before, it ends there again.
    """
    while directory.is_dir() and (state := get_last_checkpoint(str(directory))):
        if _can_continue(Path(state), patience):
            return str(state)
        shutil.rmtree(state)
    return None


def _can_continue(directory: Path, patience: Patience | None) -> bool:
    if not all((directory / name).is_file() for name in _STATE_FILES):
        return False
    if len(list(directory.glob("rng_state*.pth"))) < world():  # each process writes its own
        return False
    try:  # the last to be written
        state = TrainerState.load_from_json(str(directory / "trainer_state.json"))
    except (ValueError, TypeError):
        return False
    return patience is None or not patience.has_run_out(state)
