from __future__ import annotations

from perf.late import Row, table


def test_the_table() -> None:
    rows = [Row("of the wheel", 0.004, 81_383, 42_623, 1, 5.13)]
    assert table(rows).splitlines()[2:] == ["| 4 | of the wheel | 81,383 | 42,623 | 1 | 5.1 |"]
