from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from builder.evaluation.figures_table import figures_table
from builder.evaluation.report import Row

ROWS = [
    Row(name, 920, {"ndcg@10": 0.107, "hr@10": 0.2, "mrr": 0.1, "coverage@10": 0.3}, 0.007, ece)
    for name, ece in (("popularity", None), ("frozen BERT: network [b]al", 0.02))
]


def test_the_table_fits_a_terminal_and_shows_names_as_they_are() -> None:
    drawn = io.StringIO()
    Console(file=drawn, width=80).print(figures_table(ROWS, "how"))
    output = drawn.getvalue()
    for text in (
        "920 users",
        "0.1070 ±0.0070",
        "0.2000",
        "30.0%",
        "0.0200",
        "network [b]al",
        "how",
    ):
        assert text in output
    assert "…" not in output


def test_targets_that_users_had_before_are_told() -> None:
    assert "had before" not in drawn_rows(ROWS)
    assert "had before" not in drawn_rows([replace(row, seen_before=0) for row in ROWS])
    told = drawn_rows([replace(row, seen_before=55) for row in ROWS])
    assert told.count("55 of the 920 test targets are items that their users had before") == 1


def drawn_rows(rows: list[Row]) -> str:
    drawn = io.StringIO()
    Console(file=drawn, width=80).print(figures_table(rows, "how"))
    return " ".join(drawn.getvalue().split())
