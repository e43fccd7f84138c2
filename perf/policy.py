"""``python -m perf policy``: what diversity and its like cost in NDCG@10, and what they bring."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from builder.data.splits import Holdout
from builder.evaluation.beyond_accuracy import directions
from builder.evaluation.policy_lists import PolicyLists, accuracy
from builder.export.attributes import all_attributes
from builder.options import command
from builder.reports.figures import list_metrics_of
from builder.reports.lists import means, shown
from builder.reports.trained_run import TrainedRun, load_run
from model_repository.core.attributes import Column
from model_repository.core.policy.groups import mix
from perf.errors import PerfError
from perf.options import Json, note
from perf.plots import draw

METHODS: Final = ("dpp", "msd", "mmr", "ssd")
"""Of pyversity. A server takes the first two; the figures of the others say why."""
DIVERSITIES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PENALTIES: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
_COST_USERS: Final = 100
_COST_CALLS: Final = 5
_SMOOTHING: Final = 0.01

Report = dict[str, Any]


@command
def policy(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A checkpoint.")],
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its data is, if it has moved.")
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the items for calibrated lists. Its values are separated by | or, "
            "where none is, by spaces.",
        ),
    ] = None,
    on: Annotated[
        Literal["test", "validation"], typer.Option(help="The users that lists are made for.")
    ] = "test",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write plots beside this JSON file too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make lists with each control of the policy, from a little to much, and judge them.

    Also measures the CPU time of each for a list of 10 of 200 candidates.

    Example: python -m perf policy runs/demo --output perf/results/policy.json
    """
    figures = policy_figures(load_run(run, data), on=on, match=match)
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        draw(figures, output.parent, output.stem)
    typer.echo(json.dumps(figures, indent=1) if as_json else table(figures))


def policy_figures(
    loaded: TrainedRun, *, on: Literal["test", "validation"] = "test", match: str | None = None
) -> Report:
    """Figures of ``plain`` lists, of ``curves`` of each control, and its ``cost``.

    A point of a curve has the means of `PolicyLists` and the diversity by item vectors. With
    ``match`` it has the divergence of lists from histories too.
    """
    attributes = all_attributes(loaded.model.catalogue)
    if match is not None and match not in attributes.columns:
        raise PerfError(f"--match {match}: the item file had no such column")
    split = loaded.split
    holdout = split.test if on == "test" else split.validation
    maker = PolicyLists(loaded.model, split.learnt, attributes, split.counted)
    judge = _Judge(loaded, maker, holdout, match)
    curves: dict[str, dict[str, dict[str, float]]] = {}
    for method in METHODS:
        note(f"diversity: {method}")
        curves[method] = {
            str(each): judge.of({"diversity": each, "diversity_method": method})
            for each in DIVERSITIES
        }
    for by in ("text", *([match] if match else [])):
        note(f"diversity by {by}")
        curves[f"dpp by {by}"] = {
            str(each): judge.of({"diversity": each, "diversity_by": by}) for each in DIVERSITIES
        }
    note("popularity_penalty")
    curves["popularity penalty"] = {
        str(each): judge.of({"popularity_penalty": each}) for each in PENALTIES
    }
    if match:
        curves["match"] = {match: judge.of({"match": match})}
    note("cost")
    return {
        "users": len(holdout),
        "on": on,
        "plain": judge.of({}),
        "curves": curves,
        "cost": costs(maker, holdout, match),
    }


class _Judge:
    def __init__(
        self, loaded: TrainedRun, maker: PolicyLists, holdout: Holdout, match: str | None
    ) -> None:
        self._maker = maker
        self._holdout = holdout
        self._list_metrics = list_metrics_of(loaded)
        self._by_item = replace(
            self._list_metrics, directions=directions(np.asarray(maker.catalogue.vectors))
        )
        self._column = None if match is None else maker.catalogue.attributes.column(match)

    def of(self, options: Mapping[str, Any]) -> dict[str, float]:
        top = self._maker.lists(self._holdout, options)
        figures = means(
            accuracy(top, self._holdout.targets) | self._list_metrics.per_user(top)
        ) | shown(top, len(self._maker.catalogue))
        by_item = self._by_item.per_user(top)["diversity@10"]
        figures["diversity_by_item@10"] = float(by_item.mean())
        if self._column is not None:
            figures["divergence@10"] = divergence(self._column, self._holdout, top)
        return figures


def divergence(column: Column, holdout: Holdout, top: NDArray[np.int32]) -> float:
    """Mean Kullback-Leibler divergence of the mix of a list from that of a history (Steck 2018).

    Over the users whose history has a mix.
    """
    found = []
    for user, items in enumerate(top):
        values, wanted = mix(column, holdout.histories.items_of(user).astype(np.int32))
        if len(values):
            there, share = mix(column, items[items >= 0])
            listed = np.zeros_like(wanted)
            _, own, of_history = np.intersect1d(there, values, return_indices=True)
            listed[of_history] = share[own]
            of_list = (1 - _SMOOTHING) * listed + _SMOOTHING * wanted
            found.append(float(wanted @ np.log(wanted / of_list)))
    return float(np.mean(found))


def costs(maker: PolicyLists, holdout: Holdout, match: str | None) -> dict[str, float]:
    """CPU microseconds of one thread, the median over calls, to choose 10 of 200 candidates."""
    diversity = {"diversity": 0.5}
    asked: dict[str, dict[str, Any]] = {
        "all off": {},
        "popularity_penalty": {"popularity_penalty": 0.1},
        "diversity": diversity,
        "diversity, msd": {**diversity, "diversity_method": "msd"},
        "diversity by text": {**diversity, "diversity_by": "text"},
    }
    if match is not None:
        asked[f"diversity by {match}"] = {**diversity, "diversity_by": match}
        asked[f"match {match}"] = {"match": match}
        asked["all three"] = {**diversity, "popularity_penalty": 0.1, "match": match}
    return {
        name: _spent(maker, holdout.rows(0, _COST_USERS), options)
        for name, options in asked.items()
    }


def _spent(maker: PolicyLists, holdout: Holdout, options: Mapping[str, Any]) -> float:
    spent = []
    for plan, candidates, user in maker.searched(holdout, options):
        for _ in range(_COST_CALLS):
            start = time.process_time_ns()
            plan.choose(candidates, user)
            spent.append(time.process_time_ns() - start)
    return float(np.median(spent)) / 1000


def table(figures: Report) -> str:
    """Tables in Markdown."""
    plain = figures["plain"]
    metrics = list(plain)
    lines = [
        f"| {figures['users']:,} {figures['on']} users | {' | '.join(metrics)} |",
        f"|---|{'---|' * len(metrics)}",
    ]
    rows = {"all off": plain} | {
        f"{name} {value}": point
        for name, points in figures["curves"].items()
        for value, point in points.items()
    }
    for name, point in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{point[each]:.4f}' for each in metrics)} |")
    lines += ["", "| top 10 of 200 | CPU µs, p50 |", "|---|---|"]
    lines += [f"| {name} | {spent:.0f} |" for name, spent in figures["cost"].items()]
    return "\n".join(lines)
