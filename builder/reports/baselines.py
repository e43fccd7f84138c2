"""Figures of all baselines under one protocol: `python -m builder baselines`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.data import Sequences, Split, read, split_log
from builder.data.replay import replayed
from builder.errors import ConfigError
from builder.evaluation.als import als_is_installed, implicit_als
from builder.evaluation.baselines import View
from builder.evaluation.beyond_accuracy import ListMetrics
from builder.evaluation.closed_forms import closed_forms
from builder.evaluation.known import ALL_EVENTS
from builder.evaluation.ranking import Scorer
from builder.evaluation.results import result
from builder.progress import Progress, silent
from builder.reports.external_scores import read_scores
from builder.reports.figures import FULL, Figures, list_metrics_of, rows, tell_known, tested_by
from builder.reports.trained_run import TrainedRun, check_replay
from builder.training.config import TrainingConfig
from builder.training.sasrec import train_sasrec

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class BaselineTask:
    """What the baselines learn from and are tested on.

    Attributes
    ----------
    training
        Its data, split, seed and shape of the network are used; its backbone is not.
    run
        The trained model to beat; None if there is none yet.
    """

    training: TrainingConfig
    split: Split
    item_ids: list[str]
    actions: int
    run: TrainedRun | None = None

    @classmethod
    def of_data(cls, training: TrainingConfig, *, replay: bool = False) -> BaselineTask:
        if replay:
            check_replay(training.split, "this command")
        interactions, catalogue = read(training.data)
        sequences = Sequences.from_interactions(interactions, training.data.min_events)
        split = split_log(sequences, len(catalogue), method=training.split, seed=training.seed)
        if replay:
            split = replayed(split)
        return cls(training, split, catalogue.item_ids, len(interactions.actions))

    @classmethod
    def against(cls, run: TrainedRun) -> BaselineTask:
        model = run.model
        return cls(run.training, run.split, model.catalogue.item_ids, len(model.actions), run)


def _scorers(
    task: BaselineTask, view: View, *, with_sasrec: bool, progress: Progress
) -> dict[str, Scorer]:
    """Every baseline that can be had here, by a view of the histories."""
    split, items, training = task.split, len(task.item_ids), task.training
    scorers = closed_forms(split, items, view, progress=progress)
    if als_is_installed():
        scorers["ALS"] = implicit_als(
            split, items, seed=training.seed, view=view, progress=progress
        )
    if with_sasrec:
        with tempfile.TemporaryDirectory() as state:
            scorers["SASRec"] = train_sasrec(
                split,
                items,
                task.actions,
                training,
                Path(state),
                view=view,
                progress=progress,
            )
    return scorers


def baseline_figures(
    task: BaselineTask,
    recorded: Mapping[str, Path],
    *,
    with_sasrec: bool = True,
    progress: Progress = silent,
) -> Figures:
    """Figures of every baseline that can be had here, and of the run, on the test users.

    ``recorded`` has scores of other programs by name, see `read_scores`.
    """
    split, items = task.split, len(task.item_ids)
    if recorded and split.replayed:
        raise ConfigError(
            "--scores has one row of scores a user, and a replay asks about a user many times; "
            "leave out one of --scores and --replay"
        )
    # Read first: what is wrong with a file should not show after minutes of training.
    others = {name: read_scores(file, split.test, task.item_ids) for name, file in recorded.items()}
    if not als_is_installed():
        log.warning("ALS is left out: pip install 'tritonrec[evaluation]'")
    views: dict[str, View] = {"": Sequences.without_context}
    if split.train.target is not None:
        views[ALL_EVENTS] = Sequences.without_distinction
    scorers: dict[str, Scorer] = {}
    for suffix, view in views.items():
        found = _scorers(task, view, with_sasrec=with_sasrec, progress=progress)
        scorers |= {f"{name}{suffix}": scorer for name, scorer in found.items()}
    scorers |= others
    list_metrics = ListMetrics.of(split.learnt, items)
    if task.run is not None:
        scorers[FULL] = task.run.model.scorer(log=split.counted)
        list_metrics = list_metrics_of(task.run)
    results = []
    for done, (name, scorer) in enumerate(scorers.items(), 1):
        results.append(result(name, scorer, split.test, list_metrics))
        progress("evaluate", done, len(scorers))
    figures: Figures = {
        "data": str(task.training.data.directory),
        "seed": task.training.seed,
        **tested_by(split, task.training.split),
        "rows": rows(results, split.test, list_metrics, main=None if task.run is None else FULL),
    }
    counts = task.run is not None and bool(task.run.model.trend)
    tell_known(figures, outside=others, counting=[FULL] if counts else [])
    return figures
