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
from builder.evaluation.lists import ListJudge
from builder.evaluation.ranking import Scorer
from builder.evaluation.report import PROTOCOL
from builder.evaluation.results import result
from builder.model.linear import EASE_LIMIT
from builder.progress import Progress, silent
from builder.reports.figures import FULL, Figures, judge_of, rows
from builder.reports.recorded import read_scores
from builder.reports.trained import TrainedRun
from builder.training.config import TrainingConfig
from builder.training.sasrec import train_sasrec

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Contest:
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
    def of_data(cls, training: TrainingConfig) -> Contest:
        interactions, catalogue = read(training.data)
        sequences = Sequences.from_interactions(interactions, training.data.min_events)
        split = split_log(sequences, len(catalogue), method=training.split, seed=training.seed)
        return cls(training, split, catalogue.item_ids, len(interactions.actions))

    @classmethod
    def against(cls, run: TrainedRun) -> Contest:
        model = run.model
        return cls(run.training, run.split, model.catalogue.item_ids, len(model.actions), run)


def _scorers(
    contest: Contest, view: View, *, with_sasrec: bool, progress: Progress
) -> dict[str, Scorer]:
    """Every baseline that can be had here, by a view of the histories."""
    split, items, training = contest.split, len(contest.item_ids), contest.training
    scorers = baselines(split, items, view)
    if items <= EASE_LIMIT:
        scorers["EASE with recency"] = recency_ease(split, items, view)
    if als_is_installed():
        scorers["ALS"] = implicit_als(split, items, seed=training.seed, view=view)
    if with_sasrec:
        with tempfile.TemporaryDirectory() as state:
            scorers["SASRec"] = train_sasrec(
                split,
                items,
                contest.actions,
                training,
                Path(state),
                view=view,
                progress=progress,
            )
    return scorers


def contest_figures(
    contest: Contest,
    recorded: Mapping[str, Path],
    *,
    with_sasrec: bool = True,
    progress: Progress = silent,
) -> Figures:
    """Figures of every baseline that can be had here, and of the run, on the test users.

    ``recorded`` has scores of other programs by name, see `read_scores`.
    """
    split, items = contest.split, len(contest.item_ids)
    # Read first: what is wrong with a file should not show after minutes of training.
    others = {
        name: read_scores(file, split.test, contest.item_ids) for name, file in recorded.items()
    }
    if not als_is_installed():
        log.warning("ALS is left out: pip install 'tritonrec[evaluation]'")
    views: dict[str, View] = {"": Sequences.without_context}
    if split.train.target is not None:
        views[", all events"] = Sequences.without_distinction
    scorers: dict[str, Scorer] = {}
    for suffix, view in views.items():
        found = _scorers(contest, view, with_sasrec=with_sasrec, progress=progress)
        scorers |= {f"{name}{suffix}": scorer for name, scorer in found.items()}
    scorers |= others
    judge = ListJudge.of(split.learnt, items)
    if contest.run is not None:
        scorers[FULL] = contest.run.model.scorer()
        judge = judge_of(contest.run)
    results = []
    for done, (name, scorer) in enumerate(scorers.items(), 1):
        results.append(result(name, scorer, split.test, judge))
        progress("evaluate", done, len(scorers))
    return {
        "data": str(contest.training.data.directory),
        "seed": contest.training.seed,
        "protocol": PROTOCOL,
        "split": contest.training.split,
        "rows": rows(results, split.test, judge, main=None if contest.run is None else FULL),
    }
