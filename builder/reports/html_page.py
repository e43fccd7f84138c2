"""The figures of `builder.reports.figures` as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from builder.reports import plots
from builder.reports.cold_items import EARLIER
from builder.reports.figures import FULL, Figures
from builder.reports.html_parts import heading, note, page, table
from builder.reports.tables import COLD, NAMES, how_tested, tested_on

_ACCURACY: Final = ("ndcg@5", "ndcg@10", "ndcg@20", "hr@5", "hr@10", "hr@20", "mrr")
_LISTS: Final = ("coverage@10", "novelty@10", "diversity@10", "popularity@10")


def run_page(figures: Figures) -> str:
    """Page of `run_figures`."""
    rows = figures["rows"]
    main = next(row for row in rows if row["name"] == FULL)
    rivals = [row for row in rows if row["name"] not in (FULL, *EARLIER)]
    best = max(rivals, key=lambda row: row["metrics"]["ndcg@10"])
    parts = [
        note(f"{figures['checkpoint']}; {tested_on(figures)}."),
        note(how_tested(figures)),
        heading("Accuracy"),
        plots.forest(rows, "ndcg@10", "NDCG@10", FULL),
        _metrics_table(rows, _ACCURACY),
        note("With one relevant item a user, recall at k is HR at k."),
        heading("What was known of other users"),
        table(["", "known"], [[row["name"], row["knew_of_others"]] for row in rows], FULL),
        heading("What the first 10 are like"),
        _metrics_table(rows, _LISTS),
        note(
            "Coverage: share of the catalogue shown to anyone. Novelty in bits. Diversity: mean "
            "distance of the texts in a list. Popularity: mean percentile, 0.5 for random items."
        ),
        heading(f"What the {FULL} is better by"),
        _tests_table(rows),
        note(
            "Paired over users: 95 % bootstrap interval of the difference in NDCG@10, and the "
            "p-value of a randomisation test."
        ),
        heading("Accuracy by group of users"),
        *(plots.groups([best, main], kind, name) for kind, name in NAMES.items()),
        heading("Accuracy and popularity"),
        plots.popularity(rows, FULL),
        heading("Calibration of the interest"),
        plots.reliability(main["reliability"], main["ece"]),
        note(
            "Held-out items against as much weight of random unseen ones: of the items given an "
            "interest of 0.7, seven tenths of the weight should be users' next items."
        ),
    ]
    if cold := figures.get("cold"):
        for place, against in COLD.items():
            parts += [
                heading(f"{cold['items']:,} items never seen in training, {against}"),
                plots.forest(cold[place], "ndcg@10", "NDCG@10", FULL),
                _metrics_table(cold[place], _ACCURACY),
                note(f"{cold[place][0]['users']:,} users, the last such item of each."),
            ]
    return page("Evaluation", parts)


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
    return page(
        "Comparison",
        [
            note(f"First: {figures['first']}. Second: {figures['second']}."),
            note(f"{figures['users']:,} users. {figures['protocol']}"),
            plots.differences(metrics),
            table(["", "first", "second", "difference", "95 % interval", "p"], body),
            note(
                "p: paired randomisation test. Decide on NDCG@10: of many metrics, one will look "
                "significant by chance."
            ),
        ],
    )


def _metrics_table(rows: Sequence[Figures], metrics: Sequence[str]) -> str:
    body = [[row["name"], *(f"{row['metrics'][name]:.4f}" for name in metrics)] for row in rows]
    return table(["", *metrics], body, FULL)


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
    return table(["than", "difference", "relative", "95 % interval", "p"], body, FULL)
