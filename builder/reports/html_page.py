"""The figures of `builder.reports.figures` as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from builder.errors import ConfigError
from builder.reports import plots
from builder.reports.figures import FULL, Figures
from builder.reports.tables import COLD, NAMES

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2430; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #dde2e8; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
tr.main { font-weight: 600; }
p.note { color: #55606e; font-size: .9rem; } svg { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
"""
_ACCURACY: Final = ("ndcg@5", "ndcg@10", "ndcg@20", "hr@5", "hr@10", "hr@20", "mrr")
_LISTS: Final = ("coverage@10", "novelty@10", "diversity@10", "popularity@10")


def write_page(file: Path, page: str) -> None:
    """Write a page.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    try:
        file.write_text(page, "utf-8")
    except OSError as error:
        raise ConfigError(f"--html {file}: cannot be written: {error}; give another") from error


def run_page(figures: Figures) -> str:
    """Page of `run_figures`."""
    rows = figures["rows"]
    main = next(row for row in rows if row["name"] == FULL)
    best = max((row for row in rows if row is not main), key=lambda row: row["metrics"]["ndcg@10"])
    parts = [
        _note(f"{figures['checkpoint']}; {rows[0]['users']:,} users, {figures['split']}."),
        _note(figures["protocol"]),
        _heading("Accuracy"),
        plots.forest(rows, "ndcg@10", "NDCG@10", FULL),
        _metrics_table(rows, _ACCURACY),
        _note("With one relevant item a user, recall at k is HR at k."),
        _heading("What the first 10 are like"),
        _metrics_table(rows, _LISTS),
        _note(
            "Coverage: share of the catalogue shown to anyone. Novelty in bits. Diversity: mean "
            "distance of the texts in a list. Popularity: mean percentile, 0.5 for random items."
        ),
        _heading(f"What the {FULL} is better by"),
        _tests_table(rows),
        _note(
            "Paired over users: 95 % bootstrap interval of the difference in NDCG@10, and the "
            "p-value of a randomisation test."
        ),
        _heading("Accuracy by group of users"),
        *(plots.groups([best, main], kind, name) for kind, name in NAMES.items()),
        _heading("Accuracy and popularity"),
        plots.popularity(rows, FULL),
        _heading("Calibration of the interest"),
        plots.reliability(main["reliability"], main["ece"]),
        _note(
            "Held-out items against as much weight of random unseen ones: of the items given an "
            "interest of 0.7, seven tenths of the weight should be users' next items."
        ),
    ]
    if cold := figures.get("cold"):
        for place, against in COLD.items():
            parts += [
                _heading(f"{cold['items']:,} items never seen in training, {against}"),
                plots.forest(cold[place], "ndcg@10", "NDCG@10", FULL),
                _metrics_table(cold[place], _ACCURACY),
                _note(f"{cold[place][0]['users']:,} users, the last such item of each."),
            ]
    return _page("Evaluation", parts)


def comparison_page(figures: Figures) -> str:
    """Page of `compared_figures`."""
    metrics = figures["metrics"]
    body = [
        [
            name,
            f"{each['first']:.4f}",
            f"{each['second']:.4f}",
            f"{each['difference']:+.4f}",
            "{:+.4f} … {:+.4f}".format(*each["interval"]),
            f"{each['p']:.4f}",
        ]
        for name, each in metrics.items()
    ]
    others = (*figures["coverage"].items(), ("calibration error", figures["ece"]))
    body += [
        [name, f"{each['first']:.4f}", f"{each['second']:.4f}", "", "", ""] for name, each in others
    ]
    return _page(
        "Comparison",
        [
            _note(f"First: {figures['first']}. Second: {figures['second']}."),
            _note(f"{figures['users']:,} users. {figures['protocol']}"),
            plots.differences(metrics),
            _table(["", "first", "second", "difference", "95 % interval", "p"], body),
            _note(
                "p: paired randomisation test. Decide on NDCG@10: of many metrics, one will look "
                "significant by chance."
            ),
        ],
    )


def _metrics_table(rows: Sequence[Figures], metrics: Sequence[str]) -> str:
    body = [[row["name"], *(f"{row['metrics'][name]:.4f}" for name in metrics)] for row in rows]
    return _table(["", *metrics], body)


def _tests_table(rows: Sequence[Figures]) -> str:
    body = []
    for row in rows:
        if "main_less_this" in row:
            each = row["main_less_this"]["ndcg@10"]
            own = row["metrics"]["ndcg@10"]
            share = f"{each['difference'] / own:+.1%}" if own else ""
            interval = "{:+.4f} … {:+.4f}".format(*each["interval"])
            body.append(
                [row["name"], f"{each['difference']:+.4f}", share, interval, f"{each['p']:.4f}"]
            )
    return _table(["than", "difference", "relative", "95 % interval", "p"], body)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr{' class=main' if row[0] == FULL else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>'


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _page(title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )
