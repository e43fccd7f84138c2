"""The options of a run that was trained earlier, and whether a training may continue it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builder.errors import CheckpointError, ConfigError
from builder.model.checkpoint import read_config
from builder.training.config import TrainingConfig


def read_training(run: Path) -> TrainingConfig:
    """The options that a checkpoint was trained with.

    Raises
    ------
    CheckpointError
        The checkpoint is missing, or they are damaged.
    """
    try:
        return TrainingConfig.from_dict(read_config(run)["training"])
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{run / 'config.json'}: its training options are damaged ({error}); train again"
        ) from error


def check_continued(config: TrainingConfig, run: Path) -> None:
    """Raise where a training with these options cannot start from what `run` has learnt.

    Raises
    ------
    ConfigError
        The run may have learnt events that the training would be tested on, or it was told
        something else of users, items and requests.
    CheckpointError
        The checkpoint is missing or damaged.
    """
    before = read_training(run)
    _check_tested(config, before, run)
    _check_same_columns(config, before)


def _check_tested(config: TrainingConfig, before: TrainingConfig, run: Path) -> None:
    """Raise where the run may have learnt the events that a training from it would be tested on."""
    if before.refit == "all":
        raise ConfigError(
            f"--warm-start {run}: it was trained with --refit all, so it has learnt events that "
            "this training would be tested on; continue from a run without it"
        )
    if config.hold_out_items or before.hold_out_items:
        raise ConfigError(
            f"--warm-start {run}: --hold-out-items takes other items of another log, so one of the "
            "runs may learn what the other is tested on; train both without it"
        )
    now, then = _held_out_by(config), _held_out_by(before)
    if different := [name for name in now if now[name] != then.get(name, now[name])]:
        told = ", ".join(_option(name, before) for name in different)
        raise ConfigError(
            f"--warm-start {run}: it was trained with {told}, so it may have learnt events that "
            "this training would be tested on; give the same, or leave --warm-start out"
        )


def _held_out_by(config: TrainingConfig) -> dict[str, Any]:
    """What says which events the test has, of a log as it is and of one that has grown.

    The last target of a user is the same one with context and without, and whoever else is in the
    log. The moments of a temporal split are not.
    """
    data = config.data
    found: dict[str, Any] = {
        "split": config.split,
        "min_rating": data.min_rating,
        "target_actions": set(data.target_actions),
    }
    if config.split == "temporal":
        found["min_events"] = data.min_events
        if data.min_rating is not None or data.target_actions:
            found["context"] = data.context
    return found


def _option(name: str, config: TrainingConfig) -> str:
    value = config.split if name == "split" else getattr(config.data, name)
    flag = f"--{name.replace('_', '-')}"
    if value is None or value == ():
        return f"no {flag}"
    return f"{flag} {','.join(value) if isinstance(value, tuple) else value}"


def _check_same_columns(config: TrainingConfig, before: TrainingConfig) -> None:
    """Raise unless the run that is continued was told the same of users, items and requests."""
    for name in ("profile", "item_profile", "item_vectors", "request_time"):
        asked, known = getattr(config.data, name), getattr(before.data, name)
        if set(known) != set(asked):
            raise ConfigError(
                f"--{name.replace('_', '-')} {','.join(asked) or 'left out'}: the run of "
                f"--warm-start knows {','.join(known) or 'none'}; give the same"
            )
    if config.data.time_zone != before.data.time_zone:
        raise ConfigError(
            f"--time-zone {config.data.time_zone}: the run of --warm-start goes by "
            f"{before.data.time_zone}; give the same"
        )
