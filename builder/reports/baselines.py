"""Figures of all baselines under one protocol: `python -m builder baselines`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.data import Sequences, Split, read, split_log
from builder.evaluation.als import als_is_installed, implicit_als
from builder.evaluation.baselines import View, baselines, recency_ease
from builder.evaluation.beyond_accuracy import ListMetrics
from builder.evaluation.ranking import Scorer
from builder.evaluation.report import PROTOCOL
from builder.evaluation.results import result
from builder.model.linear import EASE_LIMIT
from builder.progress import Progress, silent
from builder.reports.external_scores import read_scores
from builder.reports.figures import FULL, Figures, list_metrics_of, rows
from builder.reports.trained_run import TrainedRun
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
    def of_data(cls, training: TrainingConfig) -> BaselineTask:
        interactions, catalogue = read(training.data)
        sequences = Sequences.from_interactions(interactions, training.data.min_events)
        split = split_log(sequences, len(catalogue), method=training.split, seed=training.seed)
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
    scorers = baselines(split, items, view, progress=progress)
    if items <= EASE_LIMIT:
        scorers["EASE with recency"] = recency_ease(split, items, view, progress=progress)
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
    # Read first: what is wrong with a file should not show after minutes of training.
    others = {name: read_scores(file, split.test, task.item_ids) for name, file in recorded.items()}
    if not als_is_installed():
        log.warning("ALS is left out: pip install 'tritonrec[evaluation]'")
    views: dict[str, View] = {"": Sequences.without_context}
    if split.train.target is not None:
        views[", all events"] = Sequences.without_distinction
    scorers: dict[str, Scorer] = {}
    for suffix, view in views.items():
        found = _scorers(task, view, with_sasrec=with_sasrec, progress=progress)
        scorers |= {f"{name}{suffix}": scorer for name, scorer in found.items()}
    scorers |= others
    list_metrics = ListMetrics.of(split.learnt, items)
    if task.run is not None:
        scorers[FULL] = task.run.model.scorer()
        list_metrics = list_metrics_of(task.run)
    results = []
    for done, (name, scorer) in enumerate(scorers.items(), 1):
        results.append(result(name, scorer, split.test, list_metrics))
        progress("evaluate", done, len(scorers))
    return {
        "data": str(task.training.data.directory),
        "seed": task.training.seed,
        "protocol": PROTOCOL,
        "split": task.training.split,
        "rows": rows(results, split.test, list_metrics, main=None if task.run is None else FULL),
    }
