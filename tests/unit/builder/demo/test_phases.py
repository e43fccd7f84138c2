from __future__ import annotations

import pytest

from builder.demo import phases
from builder.demo.phases import Phases


class Clock:
    now = 100.0


def test_the_time_left_is_that_of_all_phases(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(phases, "monotonic", lambda: Clock.now)
    told: list[tuple[str, int, int]] = []
    of_all = Phases({"Train": 120, "Export": 40})
    progress = of_all.watched(lambda *each: told.append(each))
    of_all.begin("Train")
    progress("steps", 1, 9)
    monkeypatch.setattr(Clock, "now", 400.0)  # slower than was said: the bar waits for it
    progress("steps", 2, 9)
    of_all.begin("Export")
    progress("compile", 1, 2)
    assert capsys.readouterr().out == "1. Train  (about 3 min left)\n2. Export  (about 40 s left)\n"
    bar = "all of the demo, in seconds"
    assert [each for each in told if each[0] == bar] == [
        (bar, spent, 160) for spent in (0, 120, 120)
    ]
    assert [each for each in told if each[0] != bar] == [
        ("steps", 1, 9), ("steps", 2, 9), ("compile", 1, 2),
    ]  # fmt: skip
