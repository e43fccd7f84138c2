"""Figures of several seeds as one table with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.evaluation.closed_forms import CLOSED_FORMS
from builder.evaluation.known import ALL_EVENTS
from builder.evaluation.significance import intervals, paired_difference

MODEL: Final = "full model"
_CALIBRATION: Final = {"ece": "calibration_error", "ece_by_chance": "calibration_error_by_chance"}
Row = Mapping[str, Any]


def summary(tested: Mapping[str, Sequence[Sequence[Row]]]) -> list[dict[str, Any]]:
    """A row for each set and scorer, from those of `evaluate` and `baselines` of each seed.

    A user's figure is the mean over the seeds that have the scorer; the first alone has baselines.
    ``ndcg@10`` and ``hr@10`` are means over users, with 95 % bootstrap intervals; ``seeds`` has the
    NDCG@10 of each seed. ``model_less_this`` is the paired `Difference` of the full model's
    NDCG@10. ``calibration_error`` and what chance makes it are means over the seeds, of scorers
    that have an interest. Of each set's closed forms one is ``best_closed_form``, by the test users
    themselves, so it is a stern rival.
    """
    found = []
    for name, seeds in tested.items():
        gains = {row["name"]: _by_user(seeds, row["name"], "ndcg@10") for row in seeds[0]}
        closed = [each for each in gains if each.removesuffix(ALL_EVENTS) in CLOSED_FORMS]
        best = max(closed, key=lambda each: float(gains[each].mean()), default=None)
        for row in seeds[0]:
            gain, hit = gains[row["name"]], _by_user(seeds, row["name"], "hr@10")
            mean = gain.mean(0)
            values = {
                "set": name,
                "name": row["name"],
                "knew_of_others": row["knew_of_others"],
                "users": row["users"],
                "seeds": gain.mean(1).tolist(),
                "ndcg@10": _with_interval(mean),
                "hr@10": _with_interval(hit.mean(0)),
                "best_closed_form": row["name"] == best,
            }
            same = [each for rows in seeds for each in rows if each["name"] == row["name"]]
            for key, what in _CALIBRATION.items():
                errors = [each[key] for each in same if each.get(key) is not None]
                if errors:
                    values[what] = float(np.mean(errors))
            if row["name"] != MODEL:
                compared = paired_difference(mean, gains[MODEL].mean(0))
                values["model_less_this"] = compared.to_dict()
            found.append(values)
    return found


def markdown(report: Mapping[str, Any]) -> str:
    """The table, what training took, and what is not in it."""
    lines = [
        (
            "| set | | NDCG@10 | 95 % | HR@10 | 95 % | full model better by | 95 % | p | "
            "calibration error / by chance |"
        ),
        "|---|---|---:|---|---:|---|---:|---|---:|---:|",
    ]
    previous = None
    for row in report["rows"]:
        name = f"**{row['name']}**" if row["best_closed_form"] else row["name"]
        users = f"{row['set']} ({row['users']:,})" if row["set"] != previous else ""
        previous = row["set"]
        cells = [users, name]
        for metric in ("ndcg@10", "hr@10"):
            low, high = row[metric]["interval"]
            cells += [f"{row[metric]['mean']:.4f}", f"{low:.4f}–{high:.4f}"]
        if (less := row.get("model_less_this")) is None:
            cells += ["", "", ""]
        else:
            low, high = less["interval"]
            cells += [f"{less['difference']:+.4f}", f"{low:+.4f} … {high:+.4f}", f"{less['p']:.4f}"]
        errors = [row[what] for what in _CALIBRATION.values() if what in row]
        cells.append(" / ".join(f"{each:.4f}" for each in errors))
        lines.append(f"| {' | '.join(cells)} |")
    told = (
        f"Mean of {report['seeds']} seeds, of a baseline the first; in parentheses test users, in "
        "a replay events; intervals and p are over these. Bold: the best closed form, chosen on "
        "these very users."
    )
    lines += ["", told, ""]
    lines += [
        "| set | training, minutes | CPU seconds | most memory, MiB |",
        "|---|---:|---:|---:|",
    ]
    for name, costs in report["training"].items():
        wall, cpu, memory = (
            np.mean([each[key] for each in costs]) for key in ("wall", "cpu", "memory")
        )
        lines.append(f"| {name} | {wall / 60:.1f} | {cpu:,.0f} | {memory:,.0f} |")
    machine = report["machine"]
    lines += ["", f"{machine['processor']}, {machine['cores']} cores, {machine['memory']:g} GiB."]
    lines += [f"Left out, since absent: {', '.join(report['absent'])}."] * bool(report["absent"])
    lines += [f"{name} failed: {why}" for name, why in report["failed"].items()]
    return "\n".join(lines) + "\n"


def _by_user(seeds: Sequence[Sequence[Row]], name: str, metric: str) -> NDArray[np.float64]:
    """FP64 [S, U], of the S seeds that have the scorer."""
    return np.array(
        [row["per_user"][metric] for rows in seeds for row in rows if row["name"] == name]
    )


def _with_interval(values: NDArray[np.float64]) -> dict[str, Any]:
    return {"mean": float(values.mean()), "interval": intervals(values[:, None])[0]}
