"""A checkpoint together with the data that it was trained on, split as training split it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from builder.data import Interactions, Sequences, Split, read, split_log
from builder.data.profiles import with_profiles
from builder.data.replay import replayed
from builder.data.splits import Method
from builder.errors import CheckpointError, ConfigError
from builder.model.checkpoint import load_checkpoint, read_config
from builder.model.recommender import Recommender
from builder.training.config import TrainingConfig
from builder.training.earlier_run import read_training

_NAMED: Final = 5
"""Item ids that an error names; the rest are counted."""


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What `evaluate` and `compare` work on."""

    directory: Path
    model: Recommender
    training: TrainingConfig
    split: Split


def load_run(directory: Path, data: Path | None = None, *, replay: bool = False) -> TrainedRun:
    """Load a checkpoint and read its data as training did, from `data` if it has moved.

    With ``replay`` its test is a temporal replay.

    Raises
    ------
    CheckpointError
        The checkpoint is missing or damaged, the data does not have its items, or the model has
        learnt the events that it would be tested on.
    ConfigError
        A replay of a run that was not trained on a temporal split.
    DataError
        The data cannot be read or split.
    """
    model = load_checkpoint(directory)
    training = read_training(directory)
    if training.refit == "all":
        raise CheckpointError(
            f"{directory} was trained with --refit all: it has learnt the test events. Its "
            "metrics.json has the figures of the first training; to test a run, train "
            "without --refit"
        )
    if replay:
        check_replay(training.split, str(directory))
    config = training.data
    if data is not None:
        config = replace(config, directory=data.absolute())
    interactions, catalogue = read(config)
    _check_items(directory, config.directory, model.catalogue.item_ids, catalogue.item_ids)
    interactions = _with_actions_of(model, interactions)
    split = split_log(
        Sequences.from_interactions(interactions, config.min_events),
        len(catalogue),
        method=training.split,
        hold_out_items=training.hold_out_items,
        hold_out=training.hold_out,
        seed=training.seed,
        # Runs of before it was written had their second training, if there was to be one.
        refit=training.refit == "auto" and read_config(directory).get("trained_again", True),
    )
    if replay:
        split = replayed(split)
    split = with_profiles(split, model.profile, interactions, training.data.clock)
    return TrainedRun(directory, model, replace(training, data=config), split)


def user_values(run: TrainedRun, column: str) -> dict[str, str]:
    """What the user file of a run's data has in a column, by the user's id.

    Raises
    ------
    DataError, ConfigError
        There is no user file, or no such column.
    """
    interactions, _ = read(replace(run.training.data, profile=(column,)))
    assert interactions.profile is not None
    return dict(zip(interactions.user_ids, interactions.profile[column], strict=True))


def check_replay(split: Method, what: str) -> None:
    """Raise `ConfigError` where a replay would ask about events that were learnt from."""
    if split != "temporal":
        raise ConfigError(
            f"--replay: {what} has --split {split}, which learns from events of the time that is "
            "replayed; give --split temporal, in training too"
        )


def _check_items(run: Path, directory: Path, trained: list[str], found: list[str]) -> None:
    if trained == found:
        return
    known, given = set(trained), set(found)
    problems = [
        f"{len(names):,} {problem} ({', '.join(names[:_NAMED])}{' …' * (len(names) > _NAMED)})"
        for names, problem in (
            ([name for name in trained if name not in given], "that it was trained on are missing"),
            ([name for name in found if name not in known], "are not in it"),
        )
        if names
    ]
    raise CheckpointError(
        f"{directory} does not have the items of {run}: "
        + (" and ".join(problems) or "they are in another order")
        + "; give the --data that it was trained on, or train again"
    )


def _with_actions_of(model: Recommender, interactions: Interactions) -> Interactions:
    """Number the actions as the model does; those that it does not know become 0."""
    if interactions.action is None:
        return interactions
    numbers = {name: number for number, name in enumerate(model.actions, 1)}
    renumbered = np.array([0, *(numbers.get(name, 0) for name in interactions.actions)], np.int32)
    return replace(
        interactions, action=renumbered[interactions.action], actions=list(model.actions)
    )
