from __future__ import annotations

from perf.overload import WITH, WITHOUT, Row, table
from perf.storm import Outcome


def test_the_table() -> None:
    rows = [
        Row("300 %", WITHOUT, Outcome({"DEADLINE_EXCEEDED": 1600.4}), 0.8, 0.25, after=False),
        Row(
            "300 %",
            WITH,
            Outcome({"OK": 500.2, "ALREADY_EXISTS": 1000.0, "CANCELLED": 3.0}, [0.1] * 9, 0.3),
            0.8,
            0.25,
            after=True,
        ),
    ]
    assert table(rows).splitlines()[2:] == [
        "| 300 % | without a limit | 0 | 0 | 1,600 | – | – | 0.80 | 0.25 | 0.00 | not answered |",
        "| 300 % | with a limit | 500 | 1,000 | 3 | 100 | 100 | 0.80 | 0.25 | 0.30 | answered |",
    ]
    assert rows[1].to_dict()["ends"] == {"OK": 500.2, "ALREADY_EXISTS": 1000.0, "CANCELLED": 3.0}
