"""Both closed forms on a log so small that every item is near, so they rank alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from builder.data import DataConfig
from builder.model.ease import NEAREST
from perf import __main__ as command_line
from perf import reading
from perf.closed_form import Fit, ranked, table

ITEMS = 12
USERS = 20
LENGTH = 6


@pytest.fixture
def log(tmp_path: Path) -> Path:
    events = ["user_id,item_id,timestamp"]
    for user in range(USERS):
        events += [f"u{user},i{(user + step) % ITEMS},{step}" for step in range(LENGTH)]
    # This user has seen any two items together before the last two events.
    events += [f"all,i{time % ITEMS},{time}" for time in range(ITEMS + 2)]
    (tmp_path / "interactions.csv").write_text("\n".join(events) + "\n", "utf-8")
    items = [f"i{item},Item {item}" for item in range(ITEMS)]
    (tmp_path / "items.csv").write_text("item_id,title\n" + "\n".join(items) + "\n", "utf-8")
    return tmp_path


def test_both_rank_alike_where_all_items_are_near(log: Path) -> None:
    dense, sparse = (ranked(way, DataConfig(log)) for way in ("dense", "sparse"))
    assert dense.validation is not None
    assert dense.test is not None
    assert sparse.validation == pytest.approx(dense.validation)
    assert sparse.test == pytest.approx(dense.test)
    assert (dense.items, dense.events) == (ITEMS, USERS * (LENGTH - 2) + ITEMS)
    assert dense.validation[1] >= dense.validation[0] > 0
    assert dense.memory > 0


def test_a_made_log_is_worked_out_sparsely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ITEMS", 2 * NEAREST)
    answer = CliRunner().invoke(command_line.app, ["closed-form", "--made-events", "500", "--json"])
    assert answer.exit_code == 0, answer.output
    (found,) = json.loads(answer.stdout)
    assert (found["way"], found["items"], found["validation"]) == ("sparse", 2 * NEAREST, None)


@pytest.mark.parametrize("given", [[], ["DIR", "--made-events", "500"]])
def test_one_log_is_asked_for(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["closed-form", *given]) == 1
    assert "give one of DIR and --made-events" in capsys.readouterr().err


def test_the_table_has_what_was_measured() -> None:
    made = Fit("sparse", 50_000, 980_000, 12.3, 800.0)
    tested = Fit("dense", 12, 90, 0.1, 90.4, (0.1, 0.25), (0.2, 0.3))
    assert table([made, tested]).splitlines()[2:] == [
        "| sparse | 50,000 | 980,000 |  |  | 12 | 800 |",
        "| dense | 12 | 90 | 0.1000, 0.2500 | 0.2000, 0.3000 | 0 | 90 |",
    ]
