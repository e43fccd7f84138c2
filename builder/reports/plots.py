"""The figures of `builder.reports.figures` as SVG drawings."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from builder.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAIN: Final = "#1f5fa8"
_OTHER: Final = "#8a94a0"
_MOST_NAMES: Final = 10
_ROW: Final = 0.36
"""Inches of height for each row of a drawing."""


def forest(rows: Sequence[dict[str, Any]], metric: str, label: str, main: str) -> str:
    """A metric of each row with its interval, `main` in colour."""
    figure, axes = _figure(7.0, 1.0 + _ROW * len(rows))
    for place, row in enumerate(rows):
        value = row["metrics"][metric]
        low, high = row["intervals"][metric]
        colour = _MAIN if row["name"] == main else _OTHER
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([value], [place], "o", color=colour)
        axes.annotate(
            f"{value:.4f}", (high, place), (6, 0), textcoords="offset points", va="center", size=9
        )
    _name_rows(axes, [row["name"] for row in rows])
    axes.set_xlabel(f"{label}, 95 % interval over users")
    axes.margins(x=0.12)
    return _svg(figure)


def differences(metrics: dict[str, Any]) -> str:
    """Second less first, in percent of the first, with the paired interval."""
    figure, axes = _figure(7.0, 1.0 + _ROW * len(metrics))
    for place, each in enumerate(metrics.values()):
        unit = abs(each["first"]) / 100 or 1.0
        low, high = (bound / unit for bound in each["interval"])
        clear = low > 0 or high < 0
        colour = _MAIN if clear else _OTHER
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([each["difference"] / unit], [place], "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    _name_rows(axes, list(metrics))
    axes.set_xlabel("second less first, % of the first; 95 % paired interval, coloured if clear")
    return _svg(figure)


def groups(rows: Sequence[dict[str, Any]], kind: str, label: str) -> str:
    """NDCG@10 in each group of users that is not empty, the rows side by side."""
    names = [name for name, each in rows[0][kind].items() if each["users"]]
    figure, axes = _figure(7.0, 3.2)
    width = 0.8 / len(rows)
    for number, row in enumerate(rows):
        colour = _MAIN if number == len(rows) - 1 else _OTHER
        values = [row[kind][name]["metrics"]["ndcg@10"] for name in names]
        bounds = [row[kind][name]["intervals"]["ndcg@10"] for name in names]
        where = [place + (number - (len(rows) - 1) / 2) * width for place in range(len(names))]
        errors = [
            [value - low for value, (low, _) in zip(values, bounds, strict=True)],
            [high - value for value, (_, high) in zip(values, bounds, strict=True)],
        ]
        axes.bar(
            where, values, width * 0.9, yerr=errors, color=colour, ecolor="#404040", capsize=3,
            label=row["name"],
        )  # fmt: skip
    users = [rows[0][kind][name]["users"] for name in names]
    axes.set_xticks(
        range(len(names)),
        [f"{name}\n{count:,} users" for name, count in zip(names, users, strict=True)],
    )
    axes.set_xlabel(label)
    axes.set_ylabel("NDCG@10")
    axes.legend(frameon=False)
    return _svg(figure)


def reliability(bins: dict[str, list[float]], error: float) -> str:
    """Interest promised against the share of next items, above how often each interest is given."""
    figure, axes = _figure(5.0, 4.4)
    axes.plot([0, 1], [0, 1], "--", color="#404040", linewidth=0.8, label="perfect")
    used = [place for place, weight in enumerate(bins["weight"]) if weight]
    promised = [bins["interest"][place] for place in used]
    observed = [bins["met"][place] for place in used]
    axes.plot(promised, observed, "o-", color=_MAIN, label=f"calibration error {error:.4f}")
    count = len(bins["weight"])
    middles = [(place + 0.5) / count for place in range(count)]
    axes.bar(middles, bins["weight"], 0.9 / count, color=_MAIN, alpha=0.15, label="share of pairs")
    axes.set_xlabel("interest")
    axes.set_ylabel("share of next items")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, loc="upper left")
    return _svg(figure)


def popularity(rows: Sequence[dict[str, Any]], main: str) -> str:
    """NDCG@10 against how popular the recommended items are."""
    figure, axes = _figure(7.0, 3.6)
    for number, row in enumerate(rows):
        metrics = row["metrics"]
        where = (metrics["popularity@10"], metrics["ndcg@10"])
        axes.plot(*where, "o", color=_MAIN if row["name"] == main else _OTHER)
        # Above and below in turn, so that neighbours can be read.
        offset = (0, 7) if number % 2 else (0, -13)
        axes.annotate(row["name"], where, offset, textcoords="offset points", size=9, ha="center")
    axes.set_xlabel("popularity percentile of the first 10 (0.5: as random items)")
    axes.set_ylabel("NDCG@10")
    axes.margins(0.18)
    return _svg(figure)


def bars(names: Sequence[str], values: Sequence[float], label: str, count: str) -> str:
    """A bar for each name, or each few of them where there are many."""
    figure, axes = _figure(7.0, 2.6)
    axes.bar(range(len(names)), values, 0.9, color=_MAIN)
    step = max(1, -(-len(names) // _MOST_NAMES))
    axes.set_xticks(range(0, len(names), step), names[::step])
    axes.set_xlabel(label)
    axes.set_ylabel(count)
    return _svg(figure)


def check_drawable() -> None:
    """Raise ConfigError if nothing can be drawn here."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "--html draws with matplotlib, which is not installed; pip install "
            "'tritonrec[evaluation]'"
        ) from error


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    check_drawable()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first on top
    axes.grid(axis="x", alpha=0.3)


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "tritonrec"}):  # the same figures give the same page
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawing = buffer.getvalue()
    return drawing[drawing.index("<svg") :]
