"""The figures of `builder.reports.figures` as tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from builder.evaluation.report import about_seen
from builder.reports.figures import Figures

NAMES: Final = {
    "by_history_length": "history length",
    "by_item_popularity": "popularity of the held-out item",
}
_CALIBRATION: Final = {
    "ece": "its calibration error",
    "ece_by_chance": "by chance alone",
}
COLD: Final = {
    "among_all": "against the whole catalogue",
    "among_cold": "against each other",
}


def run_tables(figures: Figures) -> list[Table]:
    """Tables of `run_figures`."""
    found = rows_tables(figures)
    if cold := figures.get("cold"):
        for place, against in COLD.items():
            title = f"{cold['items']:,} items never seen in training, {against}"
            found.append(accuracy(cold[place], title, f"{cold[place][0]['users']:,} users"))
    return found


def rows_tables(figures: Figures) -> list[Table]:
    """Tables of the ``rows``, on the test users."""
    rows = figures["rows"]
    return [
        accuracy(rows, tested_on(figures), how_tested(figures)),
        known(rows),
        lists(rows),
        *(groups(rows, kind) for kind in NAMES),
    ]


def tested_on(figures: Figures) -> str:
    """What was ranked for: "920 users, leave-one-out"."""
    return tested_on_users({**figures, "users": figures["rows"][0]["users"]})


def how_tested(figures: Figures) -> str:
    """The protocol, and what is to be known of the test targets."""
    seen = about_seen(figures["seen_before"], figures["rows"][0]["users"])
    return "\n".join(filter(None, [figures["protocol"], seen]))


def tested_on_users(figures: Figures) -> str:
    """The same of figures that tell the number of ``users`` themselves."""
    what = "events" if figures["split"] == "temporal replay" else "users"
    return f"{figures['users']:,} {what}, {figures['split']}"


def comparison_tables(figures: Figures) -> list[Table]:
    """Tables of `compared_figures`."""
    table = plain_table(
        f"{figures['users']:,} users; difference: second less first",
        ("", "first", "second", "difference", "95 % interval", "p"),
        f"first: {figures['first']}\nsecond: {figures['second']}\n{figures['protocol']}",
    )
    for name, each in figures["metrics"].items():
        low, high = each["interval"]
        table.add_row(
            Text(name),
            f"{each['first']:.4f}",
            f"{each['second']:.4f}",
            f"{each['difference']:+.4f}",
            f"{low:+.4f} … {high:+.4f}",
            f"{each['p']:.4f}",
        )
    for name, each in (*figures["coverage"].items(), ("calibration error", figures["ece"])):
        table.add_row(Text(name), f"{each['first']:.4f}", f"{each['second']:.4f}", "", "", "")
    return [table]


def accuracy(rows: Sequence[Figures], title: str, caption: str) -> Table:
    tested = any("main_less_this" in row for row in rows)
    table = plain_table(
        title,
        (
            *("", "NDCG@10", "95 % interval", "HR@10", "MRR"),
            *(("to model", "p") if tested else ()),
        ),
        caption + "\np: paired randomisation test of the difference in NDCG@10" * tested,
    )
    for row in rows:
        low, high = row["intervals"]["ndcg@10"]
        difference = row.get("main_less_this", {}).get("ndcg@10")
        cells = [
            f"{row['metrics']['ndcg@10']:.4f}",
            f"{low:.4f}–{high:.4f}",
            f"{row['metrics']['hr@10']:.4f}",
            f"{row['metrics']['mrr']:.4f}",
        ]
        if difference is not None:
            cells += [f"{-difference['difference']:+.4f}", f"{difference['p']:.4f}"]
        table.add_row(Text(row["name"]), *cells)
    return table


def known(rows: Sequence[Figures]) -> Table:
    """What each row knew of other users."""
    table = plain_table("What was known of other users", ("", "known"), "")
    for row in rows:
        table.add_row(Text(row["name"]), Text(row["knew_of_others"]))
    return table


def lists(rows: Sequence[Figures]) -> Table:
    table = plain_table(
        "What the first 10 are like",
        ("", "coverage", "novelty", "diversity", "popularity", "ECE"),
        "coverage: share of the catalogue shown to anyone; novelty in bits; popularity: mean "
        "percentile, 0.5 for random items; ECE: calibration error",
    )
    for row in rows:
        metrics = row["metrics"]
        table.add_row(
            Text(row["name"]),
            f"{metrics['coverage@10']:.1%}",
            f"{metrics['novelty@10']:.2f}",
            f"{metrics['diversity@10']:.3f}" if "diversity@10" in metrics else "",
            f"{metrics['popularity@10']:.3f}",
            "" if row.get("ece") is None else f"{row['ece']:.4f}",
        )
    return table


def groups(rows: Sequence[Figures], kind: str) -> Table:
    """NDCG@10 in each group of users, and the calibration error; empty groups are left out."""
    sizes = {name: each["users"] for name, each in rows[0][kind].items() if each["users"]}
    headings = [f"{name} ({users:,})" for name, users in sizes.items()]
    table = plain_table(f"NDCG@10 by {NAMES[kind]} (users)", ("", *headings), "")
    for row in rows:
        cells = []
        for name in sizes:
            low, high = row[kind][name]["intervals"]["ndcg@10"]
            value = row[kind][name]["metrics"]["ndcg@10"]
            cells.append(f"{value:.4f} ±{(high - low) / 2:.3f}")
        table.add_row(Text(row["name"]), *cells)
        for key, what in _CALIBRATION.items():
            errors = [row[kind][name].get(key) for name in sizes]
            if None not in errors:
                table.add_row(Text(f"  {what}"), *(f"{each:.4f}" for each in errors))
    return table


def plain_table(title: str, headings: Sequence[str], caption: str) -> Table:
    """A table of names and numbers, as narrow as it gets."""
    table = Table(
        title=title,
        caption=caption or None,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    first, *others = headings
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
