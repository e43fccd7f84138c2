"""The rows of `builder.evaluation.report` as a table for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from builder.evaluation.report import Row, about_seen


def figures_table(rows: Sequence[Row], caption: str) -> Table:
    """Figures of each row; NDCG@10 with its standard error over users."""
    users = sorted({row.users for row in rows})
    seen = sorted({(row.users, row.seen_before or 0) for row in rows}, reverse=True)
    told = [about_seen(count, targets) for targets, count in seen if count]
    table = Table(
        title=f"{' or '.join(f'{count:,}' for count in users)} users",
        caption="\n".join([caption, *told]),
        box=box.SIMPLE_HEAD,
        # As narrow as it gets: it fits 80 columns.
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("", no_wrap=True)
    for heading in ("NDCG@10", "HR@10", "MRR", "coverage@10", "ECE"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(row.name),
            f"{row.metrics['ndcg@10']:.4f} ±{row.ndcg_standard_error:.4f}",
            f"{row.metrics['hr@10']:.4f}",
            f"{row.metrics['mrr']:.4f}",
            f"{row.metrics['coverage@10']:.1%}",
            "" if row.ece is None else f"{row.ece:.4f}",
        )
    return table
