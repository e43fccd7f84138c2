"""The figures of a run as plain JSON values; the terminal and the page show these."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout, Method, Split
from builder.errors import CheckpointError
from builder.evaluation.beyond_accuracy import ListMetrics
from builder.evaluation.closed_forms import closed_forms
from builder.evaluation.known import EvaluationProtocol, known_of_others
from builder.evaluation.ranking import CUTOFFS, Scorer
from builder.evaluation.report import PARTS, PROTOCOL, REPLAY_PROTOCOL
from builder.evaluation.results import Result, result
from builder.evaluation.user_groups import by_history_length, by_item_popularity
from builder.model.linear import LinearTerm
from builder.model.scoring import linear_scores
from builder.progress import Progress, silent
from builder.reports.cold_items import cold_results, with_new_items_earlier
from builder.reports.trained_run import TrainedRun

Figures = dict[str, Any]

FULL: Final = "full model"
TIMELESS: Final = "full model without trend"
LINEAR: Final = "linear term alone"


class LinearAlone:
    """The linear term of a model without its network."""

    def __init__(self, linear: LinearTerm, max_history: int) -> None:
        self._linear = linear
        self._max_history = max_history

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        return linear_scores(self._linear, histories, self._max_history)


def run_figures(
    run: TrainedRun, *, with_baselines: bool = True, progress: Progress = silent
) -> Figures:
    """Figures of baselines and of a run's parts on the test users, and on cold items if any.

    ``rows`` are described by `figures_of` and `tell_known`. ``cold``, there if the run held items
    out, has the number of ``items`` and rows for each item ranked ``among_all`` and ``among_cold``.
    """
    model, split = run.model, run.split
    list_metrics = list_metrics_of(run)
    scorers: dict[str, Scorer] = {}
    if with_baselines:
        scorers = closed_forms(split, len(list_metrics.counts), progress=progress)
    scorers |= {name: model.scorer(part, split.counted) for name, part in PARTS.items()}
    earlier = with_new_items_earlier(run)
    scorers |= earlier
    if model.trend:
        scorers[TIMELESS] = model.scorer("timeless")
    scorers[LINEAR] = LinearAlone(model.linear, model.adapter.config.max_history)
    results = []
    for done, (name, scorer) in enumerate(scorers.items(), 1):
        calibration = model.calibration if name == FULL else None
        results.append(result(name, scorer, split.test, list_metrics, calibration=calibration))
        progress("evaluate", done, len(scorers))
    figures: Figures = {
        "checkpoint": str(run.directory),
        **tested_by(split, run.training.split),
        "rows": rows(results, split.test, list_metrics, main=FULL),
    }
    tell_known(figures, counting=[FULL, *earlier] if model.trend else [])
    if len(split.cold):
        cold = cold_results(run, list_metrics, progress=progress)
        figures["cold"] = {"items": len(split.cold_items)} | {
            place: rows(each, split.cold, list_metrics, main=FULL) for place, each in cold.items()
        }
    return figures


def tested_by(split: Split, method: Method) -> Figures:
    """The ``protocol`` in words, the ``split`` by its name, and the targets ``seen_before``."""
    seen = {"seen_before": split.test.seen_before}
    if split.replayed:
        return {"protocol": REPLAY_PROTOCOL, "split": "temporal replay", **seen}
    return {"protocol": PROTOCOL, "split": method, **seen}


def tell_known(
    figures: Figures, outside: Collection[str] = (), counting: Collection[str] = ()
) -> None:
    """Add to each row what it ``knew_of_others``; of those ``outside`` nothing is known.

    Those ``counting`` know events until each target, as a trend does.
    """
    protocol: EvaluationProtocol = figures["split"]
    for each in figures["rows"]:
        name = each["name"]
        each["knew_of_others"] = (
            "whatever its program was given"
            if name in outside
            else known_of_others(name, protocol, counts=name in counting)
        )


def list_metrics_of(run: TrainedRun) -> ListMetrics:
    vectors = run.model.text_vectors.numpy()
    return ListMetrics.of(run.split.learnt, len(vectors), vectors)


def rows(
    results: list[Result], holdout: Holdout, list_metrics: ListMetrics, *, main: str | None
) -> list[Figures]:
    """`figures_of` each result, tested against the one called `main`, if any is."""
    against = next((each for each in results if each.name == main), None)
    return [figures_of(each, holdout, list_metrics, against) for each in results]


def figures_of(
    found: Result, holdout: Holdout, list_metrics: ListMetrics, main: Result | None
) -> Figures:
    """Metrics with intervals, breakdowns, and what `main` is better by.

    ``metrics`` has a mean over users for each metric, ``intervals`` its 95 % bootstrap interval,
    ``per_user`` what NDCG@10 and HR@10 are the means of, in the order of the test users;
    ``main_less_this`` a `Difference` for each metric in `COMPARED`; ``reliability`` the bins of
    `builder.model.calibration.Reliability`, where a scorer promises an interest; ``ece`` is their
    calibration error, ``ece_by_chance`` that of a perfectly calibrated scorer on so few users.
    """
    values: Figures = {
        "name": found.name,
        "users": found.users,
        "metrics": found.metrics(),
        "intervals": found.intervals(),
        "per_user": {name: found.per_user[name].tolist() for name in ("ndcg@10", "hr@10")},
        "by_history_length": found.in_groups(by_history_length(holdout)),
        "by_item_popularity": found.in_groups(by_item_popularity(holdout, list_metrics.counts)),
    }
    if main is not None and found is not main:
        compared = main.against(found)
        values["main_less_this"] = {name: each.to_dict() for name, each in compared.items()}
    if found.reliability is not None:
        bins = found.reliability
        values["ece"] = bins.error
        values["ece_by_chance"] = bins.error_by_chance
        values["reliability"] = {
            "weight": bins.weight.tolist(),
            "interest": bins.interest.tolist(),
            "met": bins.observed.tolist(),
        }
    return values


def compared_figures(first: TrainedRun, second: TrainedRun) -> Figures:
    """Both runs' full models on the same test users, and `Difference` of each metric.

    Lists are judged by the first run's training events and text vectors.

    Raises
    ------
    CheckpointError
        The runs were not tested on the same events, or not against the same items.
    """
    _check_same(first, second)
    list_metrics = list_metrics_of(first)
    one, other = (
        result(
            FULL,
            run.model.scorer(log=run.split.counted),
            run.split.test,
            list_metrics,
            calibration=run.model.calibration,
        )
        for run in (first, second)
    )
    compared = other.against(one)
    return {
        "first": str(first.directory),
        "second": str(second.directory),
        "protocol": PROTOCOL,
        "users": one.users,
        "metrics": {
            name: {"first": one.mean(name), "second": other.mean(name)} | compared[name].to_dict()
            for name in compared
        },
        "ece": {
            name: None if each.reliability is None else each.reliability.error
            for name, each in (("first", one), ("second", other))
        },
        "coverage": {
            f"coverage@{k}": {"first": one.coverage[k], "second": other.coverage[k]}
            for k in CUTOFFS
        },
    }


def _check_same(first: TrainedRun, second: TrainedRun) -> None:
    names = f"{first.directory} and {second.directory}"
    if first.model.catalogue.item_ids != second.model.catalogue.item_ids:
        raise CheckpointError(
            f"{names} rank different items ({len(first.model.catalogue):,} and "
            f"{len(second.model.catalogue):,}); train both on the same data"
        )
    one, other = first.split.test, second.split.test
    users, others = one.histories.user_ids, other.histories.user_ids
    if users != others:
        apart = len(set(users) ^ set(others))
        found = f"{apart:,} users are in one alone" if apart else "their order differs"
        raise CheckpointError(
            f"{names} were not tested on the same users ({len(users):,} and {len(others):,}; "
            f"{found}); train both on the same data with the same --split, --hold-out-items, "
            "--hold-out, --min-rating and --min-events, and with the same --seed where items are "
            "drawn"
        )
    same = np.array_equal(one.targets, other.targets) and np.array_equal(
        one.histories.items, other.histories.items
    )
    if not same:
        raise CheckpointError(
            f"{names} were not tested on the same events of their users; train both on the same "
            "data with the same --split, --hold-out-items and --hold-out"
        )
