"""A run as JSON, as a Markdown table, and the table's place in a document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from perf.errors import PerfError
from perf.goals import (
    APPROXIMATE,
    CATALOGUE_CURVE,
    EXACT,
    GOALS,
    READING,
    SERVED,
    SERVED_APPROXIMATE,
    Goal,
    Results,
)

FORMAT: Final = "tritonrec-perf-1"
BEGIN: Final = "<!-- perf: begin -->"
END: Final = "<!-- perf: end -->"
_NOTED: Final = {
    "users_per_execution": "users in an execution of `user_encoder`",
    "encoder_executions": "executions of `encoder` a request",
    "text_rate": "requests/s with texts beside",
}


@dataclass(slots=True)
class Report:
    """Everything that ``perf/results/*.json`` holds."""

    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    settings: Mapping[str, Any]
    results: Results
    agreement: Mapping[str, Any] = field(default_factory=dict)
    cross_check: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    """Systems that were given texts a second time, so that a cache may have helped them."""
    catalogues: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Number of items → ``vector_bytes``, and MiB of ``recommend``: ``resident``, and of that
    ``anonymous``, no mapped file; with an index ``resident_approximate``, ``anonymous_approximate``
    and the index's own figures."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "agreement": self.agreement,
            "cross_check": self.cross_check,
            "goals": [_goal_dict(goal, value) for goal, value in values(self.results)],
            "quality": self.quality,
            "repeated": self.repeated,
            "stages": self.stages,
            "catalogues": self.catalogues,
            "cases": {
                case: {name: summary.to_dict() for name, summary in contenders.items()}
                for case, contenders in self.results.items()
            },
        }


def values(results: Results) -> list[tuple[Goal, float]]:
    """The goals whose two sides were both measured, with their figures."""
    found = ((goal, goal.value(results)) for goal in GOALS)
    return [(goal, value) for goal, value in found if value is not None]


def write_json(report: Report, file: Path) -> dict[str, Any]:
    content = report.to_dict()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return content


def read_json(file: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises
    ------
    PerfError
        It is something else.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PerfError(f"{file} cannot be read as a report: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PerfError(f"{file} is no report of `python -m perf run`")
    return content


def markdown(report: Mapping[str, Any], *, only_goals: bool = False) -> str:
    """The goals with what was measured; then every system in every case, and the quality."""
    lines = ["| | measured | goal | |", "|---|---:|---:|---|"]
    for goal in report["goals"]:
        sign = "≥" if goal["at_least"] else "≤"
        lines.append(
            f"| {goal['text']} | {_short(goal['value'])} | {sign} {_short(goal['bound'])} "
            f"| {'reached' if goal['reached'] else 'missed'} |"
        )
    machine, settings = report["machine"], report["settings"]
    lines.append(
        f"\n{machine['processor']}, {machine['cores']} cores, {machine['memory']:g} GiB; medians "
        f"of {settings['repetitions']} blocks of {settings['seconds']:g} s in turns. Before the "
        f"run, other programs took {machine['busy']:.0%} of the cores."
    )
    return "\n".join(lines if only_goals else lines + _details(report)) + "\n"


def _details(report: Mapping[str, Any]) -> list[str]:
    # Plots are for the others.
    cases = {name: each for name, each in report["cases"].items() if "curve" not in name}
    lines = _cases(cases) if cases else []
    lines += _catalogues(report)
    for task, systems in report["quality"].items():
        figures = ", ".join(f"{name} {value:.3f}" for name, value in systems.items())
        lines.append(f"NDCG@10 of {task} on the same users: {figures}.")
    if report["cross_check"]:
        ratios = ", ".join(f"{name}: {_short(r)}" for name, r in report["cross_check"].items())
        lines.append(f"Our load generator's rate over perf_analyzer's: {ratios}.")
    return lines


def _cases(cases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        (case, name, summary["median"], summary["spread"])
        for case, contenders in cases.items()
        for name, summary in contenders.items()
    ]
    with_cpu = any(
        "cpu" in median for _, _, median, _ in rows
    )  # not in reports of earlier versions
    lines = [
        "",
        "| case | system | requests/s | p50 ms | p95 ms | p99 ms | spread of p50 |"
        + " CPU ms a request |" * with_cpu,
        "|---|---|---:|---:|---:|---:|---:|" + "---:|" * with_cpu,
    ]
    notes = []
    for case, name, median, spread in rows:
        cpu = _short(median["cpu"]) if "cpu" in median else ""
        lines.append(
            f"| {case} | {name} | {_short(median['rate'])} | {_short(median['p50'])} "
            f"| {_short(median['p95'])} | {_short(median['p99'])} | {spread['p50']:.0%} |"
            + f" {cpu} |"
            * with_cpu
        )
        told = [f"{_short(median[key])} {what}" for key, what in _NOTED.items() if key in median]
        notes += [f"- {case}, {name}: {', '.join(told)}"] if told else []
    lines.append("\nSpread: largest less smallest, over the median.")
    return [*lines, "", *notes] if notes else lines


def _catalogues(report: Mapping[str, Any]) -> list[str]:
    """One row for each size; times are p50 in ms."""
    exact, approximate = [], []
    for size, told in report.get("catalogues", {}).items():
        medians = {
            name: summary["median"]["p50"]
            for name, summary in report["cases"][f"{CATALOGUE_CURVE}{size}"].items()
        }
        reading = medians[READING]
        exact.append(
            f"| {int(size):,} | {_fine(reading)} | {told['vector_bytes'] / reading / 1e6:.1f} "
            f"| {_fine(medians[EXACT])} | {_short(medians[EXACT] / reading)} "
            f"| {_fine(medians[SERVED])} | {_short(told['resident'])} "
            f"| {_short(told['anonymous'])} |"
        )
        if APPROXIMATE in medians:
            approximate.append(
                f"| {int(size):,} | {told['recall']:.4f} | {told['probes']} of {told['lists']} "
                f"| {_fine(medians[APPROXIMATE])} "
                f"| {_short(medians[EXACT] / medians[APPROXIMATE])} "
                f"| {_fine(medians[SERVED_APPROXIMATE])} "
                f"| {_short(told['resident_approximate'])} "
                f"| {_short(told['anonymous_approximate'])} | {_short(told['seconds'])} |"
            )
    lines = []
    if exact:
        lines += [
            "",
            (
                "| items | reading the vectors once, ms | GB/s | exact search, ms | ÷ reading "
                "| `recommend` over gRPC, ms | its process, MiB | of these no files, MiB |"
            ),
            "|---:|---:|---:|---:|---:|---:|---:|---:|",
            *exact,
        ]
    if approximate:
        lines += [
            "",
            (
                "| items | recall@100 | lists read | approximate search, ms | exact ÷ approximate "
                "| `recommend` over gRPC, ms | its process, MiB | of these no files, MiB "
                "| index made in, s |"
            ),
            "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
            *approximate,
        ]
    return lines


def put_into(document: Path, text: str) -> None:
    """Replace what is between the two marks in a Markdown file.

    Raises
    ------
    PerfError
        It has not both marks, in order, once.
    """
    content = document.read_text("utf-8")
    if (
        content.count(BEGIN) != 1
        or content.count(END) != 1
        or content.index(BEGIN) > content.index(END)
    ):
        raise PerfError(f"{document} must hold the line {BEGIN} and then the line {END}, once each")
    before, rest = content.split(BEGIN)
    after = rest.split(END)[1]
    document.write_text(f"{before}{BEGIN}\n{text}{END}{after}", "utf-8")


def _goal_dict(goal: Goal, value: float) -> dict[str, Any]:
    return {
        "text": goal.text,
        "value": value,
        "bound": goal.bound,
        "at_least": goal.at_least,
        "reached": goal.reached(value),
    }


def _fine(milliseconds: float) -> str:
    return f"{milliseconds:.3f}" if milliseconds < 1 else _short(milliseconds)


def _short(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
