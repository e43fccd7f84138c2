from __future__ import annotations

from perf.cancelled import Load, Row, table


def test_the_table() -> None:
    rows = [Row(Load(16, 64, 0.05, 0.02), 3647, 3600, 49.4, 24.1)]
    assert table(rows).splitlines()[2:] == ["| 16 | 64 | 0.05 s | 3,647 | 99% | 49 | 24 |"]
