"""What a policy makes of the lists of a run: beside the lists without it, and group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from builder.errors import ConfigError
from builder.evaluation.beyond_accuracy import LENGTH, ListMetrics, coverage, gini
from builder.evaluation.policy_lists import PolicyLists, accuracy
from builder.evaluation.significance import paired_difference
from builder.export.attributes import all_attributes
from builder.export.policy_file import read_policy_file
from builder.progress import Progress, silent
from builder.reports.figures import Figures, list_metrics_of, tested_by
from builder.reports.tables import plain_table, tested_on_users
from builder.reports.trained_run import TrainedRun
from model_repository.core.policy.groups import names as value_names
from model_repository.core.policy.groups import shares

PLAIN: Final = "without"
POLICY: Final = "with"
_MOST_GROUPS: Final = 12
"""Rows of a table of groups, those with the most items or users."""
_NO_VALUE: Final = "(no value)"

Values = dict[str, NDArray[np.float64]]


def read_policy(file: Path) -> dict[str, Any]:
    """The options of a request to a repository with this policy, see `read_policy_file`."""
    return read_policy_file(file).join({})


def list_figures(
    run: TrainedRun,
    options: Mapping[str, Any] | None = None,
    *,
    by: str | None = None,
    users: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Figures:
    """Figures of whole lists for the test users, without the policy and, where given, with it.

    ``metrics`` has a mean for each metric, ``difference`` what the policy adds to it, a
    `Difference`. ``exposure`` has, for each value of the column ``by``, its shares of the items, of
    the training events, and of the places of the lists. ``quality`` has the means of the users with
    each value of ``users``, a user's value by id, and ``gaps`` the largest less the smallest.
    """
    split, list_metrics = run.split, list_metrics_of(run)
    maker = PolicyLists(run.model, split.learnt, all_attributes(run.model.catalogue), split.counted)
    if by is not None:
        _check_column(maker, by)
    asked: dict[str, Mapping[str, Any]] = {PLAIN: {}}
    if options is not None:
        asked[POLICY] = options
    tops = {}
    for done, (name, chosen) in enumerate(asked.items(), 1):
        tops[name] = maker.lists(split.test, chosen)
        progress("evaluate", done, len(asked))
    per_user = {
        name: accuracy(top, split.test.targets) | list_metrics.per_user(top)
        for name, top in tops.items()
    }
    figures: Figures = {
        "checkpoint": str(run.directory),
        **tested_by(split, run.training.split),
        "users": len(split.test),
        "policy": None if options is None else dict(options),
        "metrics": {
            name: means(per_user[name]) | shown(tops[name], len(list_metrics.counts))
            for name in tops
        },
    }
    if options is not None:
        figures["difference"] = {
            name: paired_difference(values, per_user[POLICY][name]).to_dict()
            for name, values in per_user[PLAIN].items()
        }
    if by is not None:
        figures["exposure"] = _exposure(maker, tops, by, list_metrics)
    if users is not None:
        values = [users.get(user) or _NO_VALUE for user in split.test.histories.user_ids]
        figures |= _quality(per_user, np.array(values))
    return figures


def means(per_user: Values) -> dict[str, float]:
    """The mean over users of each metric FP64 [U]."""
    return {name: float(values.mean()) for name, values in per_user.items()}


def shown(top: NDArray[np.int32], items: int) -> dict[str, float]:
    """How much of a catalogue of so many items lists INT32 [U, 10] show, and how evenly."""
    return {f"coverage@{LENGTH}": coverage(top, items), f"gini@{LENGTH}": gini(top, items)}


def _check_column(maker: PolicyLists, by: str) -> None:
    columns = maker.catalogue.attributes.columns
    if by not in columns:
        raise ConfigError(
            f"--by {by}: the item file had no such column; its columns are "
            f"{', '.join(columns) or 'none'}"
        )


def _exposure(
    maker: PolicyLists, tops: dict[str, NDArray[np.int32]], by: str, list_metrics: ListMetrics
) -> Figures:
    everything = np.arange(len(maker.catalogue), dtype=np.int32)
    column = maker.catalogue.attributes.column(by)
    values, of_items = shares(column, everything)
    names = [*value_names(column, values), _NO_VALUE]
    table = np.column_stack([of_items, ~of_items.any(axis=1)]).astype(np.float64)
    weights: dict[str, NDArray[Any]] = {
        "items": np.ones(len(everything)),
        "events": list_metrics.counts.astype(np.float64),
    } | {name: np.bincount(top[top >= 0], minlength=len(table)) for name, top in tops.items()}
    weighed = {name: weight @ table / max(weight.sum(), 1) for name, weight in weights.items()}
    return {
        group: {name: float(of_groups[place]) for name, of_groups in weighed.items()}
        for place, group in enumerate(names)
        if table[:, place].any()
    }


def _quality(per_user: dict[str, Values], values: NDArray[np.str_]) -> Figures:
    groups, of_user, sizes = np.unique(values, return_inverse=True, return_counts=True)
    found: Figures = {
        str(group): {
            "users": int(size),
            **{
                name: {
                    metric: float(each[of_user == place].mean()) for metric, each in metrics.items()
                }
                for name, metrics in per_user.items()
            },
        }
        for place, (group, size) in enumerate(zip(groups, sizes, strict=True))
    }
    gaps = {
        name: {
            metric: float(np.ptp([of_group[name][metric] for of_group in found.values()]))
            for metric in metrics
        }
        for name, metrics in per_user.items()
    }
    return {"quality": found, "gaps": gaps}


def list_tables(figures: Figures) -> list[Table]:
    """Tables of `list_figures`."""
    tables = [_metrics(figures)]
    names = list(figures["metrics"])
    if "exposure" in figures:
        rows = _largest(figures["exposure"], "items")
        table = plain_table(
            "Exposure: share of the places of all lists",
            ("", "of items", "of events", *(f"{name} policy" for name in names)),
            "of items, of events: the group's share of the catalogue and of the training events",
        )
        for group, each in rows:
            cells = (each[name] for name in ("items", "events", *names))
            table.add_row(Text(group), *(f"{share:.1%}" for share in cells))
        tables.append(table)
    if "quality" in figures:
        table = plain_table(
            "NDCG@10 by group of users",
            ("", "users", *(f"{name} policy" for name in names)),
            "gap: the best less the worst group, of all",
        )
        for group, each in _largest(figures["quality"], "users"):
            cells = (f"{each[name]['ndcg@10']:.4f}" for name in names)
            table.add_row(Text(group), f"{each['users']:,}", *cells)
        gaps = (f"{figures['gaps'][name]['ndcg@10']:.4f}" for name in names)
        table.add_row("gap", "", *gaps)
        tables.append(table)
    return tables


def _metrics(figures: Figures) -> Table:
    policy = figures["policy"]
    told = "" if policy is None else ", ".join(f"{key}: {value}" for key, value in policy.items())
    table = plain_table(
        tested_on_users(figures),
        ("", "without", *(("with", "difference", "95 % interval") if policy is not None else ())),
        f"policy: {told}" if told else figures["protocol"],
    )
    for metric, value in figures["metrics"][PLAIN].items():
        cells = [f"{value:.4f}"]
        if policy is not None:
            other = figures["metrics"][POLICY][metric]
            cells += [f"{other:.4f}", f"{other - value:+.4f}"]
            if metric in figures["difference"]:
                low, high = figures["difference"][metric]["interval"]
                cells.append(f"{low:+.4f} … {high:+.4f}")
        table.add_row(Text(metric), *cells)
    return table


def _largest(groups: Figures, size: str) -> Sequence[tuple[str, Any]]:
    return sorted(groups.items(), key=lambda each: -each[1][size])[:_MOST_GROUPS]
