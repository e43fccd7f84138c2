from __future__ import annotations

from perf.observe import Beside, Seen, table


def test_the_tables() -> None:
    seen = [Seen("no other requests", 1.94, 4.0, 0.995)]
    beside = [Beside("20 a request", 2385.6, 13.16, 1000.4, 262.4, 35.2)]
    lines = table(seen, beside).splitlines()
    assert lines[2] == "| no other requests | 1.9 | 4.0 | 100% |"
    assert lines[6] == "| 20 a request | 2,386 | 13.16 | 1,000 | 262 | 35 |"
