"""``python -m builder evaluate``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import typer

from builder import console
from builder.data import Interactions, Sequences, Split, read, split_log
from builder.errors import CheckpointError, ConfigError
from builder.training.config import TrainingConfig

if TYPE_CHECKING:
    from builder.model.recommender import Recommender

_NAMED: Final = 5
"""Item ids that an error names; the rest are counted."""


def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Checkpoint made by `python -m builder train`.")
    ],
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the data is now. Default: where training read it. It is read the same way.",
        ),
    ] = None,
    with_baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Popularity, ItemKNN and EASE too.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the figures as JSON, and no progress.")
    ] = False,
) -> None:
    """Rank the whole catalogue for every test user and print the figures."""
    # Imported here: it takes seconds, and --help needs none of it.
    from builder.evaluation.baselines import baselines
    from builder.evaluation.report import PROTOCOL, model_rows, row
    from builder.model.checkpoint import load_checkpoint

    console.quiet_transformers()
    model = load_checkpoint(run)
    split = _read_split(run, model, data)
    items = len(model.catalogue)
    rows = []
    with console.progress_bars(shown=not as_json) as progress:
        if with_baselines:
            found = baselines(split.train, split.validation, items)
            rows += [row(name, scorer, split.test, items) for name, scorer in found.items()]
        rows += model_rows("", model, split.test, progress=progress)
    if as_json:
        figures = [each.to_dict() for each in rows]
        typer.echo(json.dumps({"checkpoint": str(run), "protocol": PROTOCOL, "rows": figures}))
        return
    console.show_figures(rows, caption=PROTOCOL)


def _read_split(run: Path, model: Recommender, directory: Path | None) -> Split:
    """Read the data as training did and split it the same way."""
    from builder.model.checkpoint import read_config

    try:
        training = TrainingConfig.from_dict(read_config(run)["training"])
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{run / 'config.json'}: its training options are damaged ({error}); train again"
        ) from error
    config = training.data
    if directory is not None:
        config = replace(config, directory=directory.absolute())
    interactions, catalogue = read(config)
    _check_items(run, config.directory, model.catalogue.item_ids, catalogue.item_ids)
    interactions = _with_actions_of(model, interactions)
    return split_log(
        Sequences.from_interactions(interactions, config.min_events),
        len(catalogue),
        method=training.split,
        hold_out_items=training.hold_out_items,
        seed=training.seed,
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
