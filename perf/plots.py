"""Plots of a report: latency against throughput, throughput against batch, cost of the stages.

Speed and quality beside peers, for the first page.

And, of `python -m perf catalogue`, latency and memory against the size of the catalogue; of
`python -m perf trend-age`, NDCG@10 against the age of the counts; of `python -m perf policy`, what
the lists are like against NDCG@10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from perf.errors import PerfError
from perf.goals import CATALOGUE_CURVE
from perf.quality_table import MODEL

SHOWN_CASE: Final = "encode-16-clients"
SHOWN_SET: Final = "ml-100k"
SHOWN_ROWS: Final = ("popularity", "EASE", "SASRec", "EASE with recency, all events", MODEL)


def draw(report: Mapping[str, Any], directory: Path, stem: str) -> list[Path]:
    """Write an SVG of each plot whose cases the report has; return the files.

    Raises
    ------
    PerfError
        matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise PerfError("plots need `pip install tritonrec[perf]`") from error
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = stem  # the same figures give the same file
    plots: dict[str, Callable[[Any, Mapping[str, Any]], bool]] = {
        "peers": _peers,
        "peer-quality": _peer_quality,
        "latency": _latency,
        "batch": _batch,
        "stages": _stages,
        "size": _size,
        "memory": _memory,
        "trend": _trend_age,
        **{name: partial(_policy, name) for name in ("diversity", "coverage", "gini", "novelty")},
    }
    files = []
    for name, plot in plots.items():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.2), layout="constrained")
        if plot(figure.subplots(), report):
            files.append(directory / f"{stem}-{name}.svg")
            figure.savefig(files[-1], metadata={"Date": None})
    return files


def _peers(axes: Any, report: Mapping[str, Any]) -> bool:
    systems = report.get("cases", {}).get(SHOWN_CASE, {})
    rates = {name: summary["median"]["rate"] for name, summary in systems.items()}
    _bars(axes, dict(sorted(rates.items(), key=lambda each: each[1])), "{:,.0f}")
    axes.set(
        xlabel=f"single texts a second, 16 clients; {report.get('machine', {}).get('processor')}",
        title="encode: tritonrec beside other servers",
    )
    return bool(rates)


def _peer_quality(axes: Any, report: Mapping[str, Any]) -> bool:
    found = {
        row["name"]: row["ndcg@10"]["mean"]
        for row in report.get("rows", [])
        if row["set"] == SHOWN_SET
    }
    shown = {name: found[name] for name in SHOWN_ROWS if name in found}
    _bars(axes, shown, "{:.3f}")
    axes.set(
        xlabel="NDCG@10, whole catalogue ranked",
        title="MovieLens-100K: the full model beside baselines",
    )
    return MODEL in shown


def _bars(axes: Any, values: Mapping[str, float], text: str) -> None:
    """Horizontal bars, those of this project in another colour than the peers'."""
    own = [name == MODEL or name.startswith("tritonrec") for name in values]
    colours = ["tab:blue" if each else "tab:gray" for each in own]
    bars = axes.barh(list(values), list(values.values()), color=colours)
    axes.bar_label(bars, [text.format(value) for value in values.values()], padding=3)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)


def _latency(axes: Any, report: Mapping[str, Any]) -> bool:
    curves = _curves(report, "encode-curve-")
    for name, points in curves.items():
        ordered = sorted(points.items())
        axes.plot(
            [point["rate"] for _, point in ordered],
            [point["p95"] for _, point in ordered],
            marker="o", label=name,
        )  # fmt: skip
        for clients, point in ordered:
            axes.annotate(str(clients), (point["rate"], point["p95"]), fontsize=7)
    axes.set(
        xlabel="single texts a second", ylabel="p95 latency, ms", yscale="log",
        title="encode: latency against throughput (points: clients)",
    )  # fmt: skip
    return _finish(axes, shown=bool(curves))


def _trend_age(axes: Any, report: Mapping[str, Any]) -> bool:
    found = report.get("trend_age", {})
    aged = {name: row["ndcg@10"] for name, row in found.items() if name != "no trend"}
    axes.plot(list(aged), list(aged.values()), marker="o", label="full model")
    if aged:
        axes.axhline(found["no trend"]["ndcg@10"], linestyle="--", label="without trend")
    axes.set(
        xlabel="age of the counts", ylabel="NDCG@10",
        title="temporal replay: what old counts cost",
    )  # fmt: skip
    return _finish(axes, shown=bool(aged))


def _policy(metric: str, axes: Any, report: Mapping[str, Any]) -> bool:
    curves = report.get("curves", {})
    for name, points in curves.items():
        axes.plot(
            [point[f"{metric}@10"] for point in points.values()],
            [point["ndcg@10"] for point in points.values()],
            marker="o", markersize=4, label=name,
        )  # fmt: skip
    if curves:
        plain = report["plain"]
        axes.plot(plain[f"{metric}@10"], plain["ndcg@10"], "k*", markersize=12, label="all off")
    axes.set(
        xlabel=f"{metric}@10", ylabel="NDCG@10", title="what a policy costs, and what it brings"
    )
    return _finish(axes, shown=bool(curves))


def _batch(axes: Any, report: Mapping[str, Any]) -> bool:
    curves = _curves(report, "batch-curve-")
    for name, points in curves.items():
        ordered = sorted(points.items())
        axes.plot(
            [batch for batch, _ in ordered],
            [batch * point["rate"] for batch, point in ordered],
            marker="o", label=name,
        )  # fmt: skip
    axes.set(
        xlabel="texts a request", ylabel="texts a second", xscale="log",
        title="encode: throughput against batch, one client",
    )  # fmt: skip
    return _finish(axes, shown=bool(curves))


def _stages(axes: Any, report: Mapping[str, Any]) -> bool:
    stages = report.get("stages", {})
    rows = [
        (f"{model}: {step['model']}", step)
        for model, steps in stages.items()
        for step in steps
        if step["model"] != model or len(steps) == 1
    ]
    start = [0.0] * len(rows)
    for part in ("queue", "transfer", "compute"):
        widths = [step[part] for _, step in rows]
        axes.barh([name for name, _ in rows], widths, left=start, label=part)
        start = [left + width for left, width in zip(start, widths, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="ms a request, one client", title="what each model of a request costs")
    return _finish(axes, shown=bool(rows))


def _size(axes: Any, report: Mapping[str, Any]) -> bool:
    curves = _curves(report, CATALOGUE_CURVE)
    for name, points in curves.items():
        ordered = sorted(points.items())
        axes.plot(
            [items for items, _ in ordered],
            [point["p50"] for _, point in ordered],
            marker="o", label=name,
        )  # fmt: skip
    axes.set(
        xlabel="items in the catalogue", ylabel="p50, ms", xscale="log", yscale="log",
        title="catalogue size against latency, one user at a time",
    )  # fmt: skip
    return _finish(axes, shown=bool(curves))


def _memory(axes: Any, report: Mapping[str, Any]) -> bool:
    catalogues = report.get("catalogues", {})
    ordered = sorted((int(items), told) for items, told in catalogues.items())
    for label, part in (
        ("exact: resident", "resident"),
        ("exact: of these no files", "anonymous"),
        ("approximate: resident", "resident_approximate"),
        ("approximate: of these no files", "anonymous_approximate"),
    ):
        points = [(items, told[part]) for items, told in ordered if part in told]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(
        xlabel="items in the catalogue", ylabel="MiB", xscale="log", yscale="log",
        title="memory of the process that answers recommend",
    )  # fmt: skip
    return _finish(axes, shown=bool(ordered))


def _curves(report: Mapping[str, Any], prefix: str) -> dict[str, dict[int, dict[str, float]]]:
    curves: dict[str, dict[int, dict[str, float]]] = {}
    for case, contenders in report.get("cases", {}).items():
        if case.startswith(prefix):
            for name, summary in contenders.items():
                point = int(case.removeprefix(prefix))
                curves.setdefault(name, {})[point] = summary["median"]
    return curves


def _finish(axes: Any, *, shown: bool) -> bool:
    if shown:
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)
    return shown
