"""What is known of users as they begin, on a log where one event tells all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from builder.data import DataConfig, Holdout
from builder.reports.trained_run import TrainedRun
from builder.training.config import TrainingConfig
from perf import __main__ as command_line
from perf import first_events
from perf.errors import PerfError
from perf.first_events import beginning, first_figures, table
from tests.unit.builder.model.tiny import recommender, sequences, split_of

LOG = sequences([0, 1, 2], [3, 4], [5, 6, 7], [8], times=[[1, 2, 3], [8, 9], [10, 11, 12], [13]])


@pytest.fixture
def loaded(backbone: Path, tmp_path: Path) -> TrainedRun:
    test = Holdout.of(LOG, np.array([3]))
    split = replace(split_of(LOG, test), windows_from=(5, 10), replayed=True)
    config = TrainingConfig(DataConfig(tmp_path), str(backbone))
    return TrainedRun(tmp_path, recommender(backbone), config, split)


def test_users_who_begin_in_the_window_are_asked_about() -> None:
    new = beginning(LOG, 10, 0)
    assert new.targets.tolist() == [5, 8]
    assert new.histories.lengths.tolist() == [0, 0]
    later = beginning(LOG, 10, 2)
    assert later.targets.tolist() == [7]
    assert later.histories.items_of(0).tolist() == [5, 6]
    assert later.histories.request_times is not None
    assert later.histories.request_times.tolist() == [12]
    assert len(beginning(LOG, 10, 3)) == 0


def test_what_is_no_target_is_not_asked_about() -> None:
    context = replace(LOG, target=np.array([*[True] * 5, False, *[True] * 3]))
    assert beginning(context, 10, 0).targets.tolist() == [8]
    assert beginning(context, 10, 1).targets.tolist() == [6]


def test_each_way_of_ranking_has_its_figures(loaded: TrainedRun) -> None:
    found = first_figures(loaded)["first_events"]
    assert {known: row["users"] for known, row in found.items()} == {"0": 2, "1": 1, "2": 1}
    assert found["0"].keys() == {"users", "model", "popularity", "decayed popularity"}
    for row in found.values():
        for name in row.keys() - {"users"}:
            assert 0 <= row[name]["ndcg@10"] <= row[name]["hr@10"] <= 1


def test_nobody_is_new(loaded: TrainedRun) -> None:
    late = replace(loaded, split=replace(loaded.split, windows_from=(5, 100)))
    with pytest.raises(PerfError, match="no user begins in the test window"):
        first_figures(late)


def test_the_command_shows_a_table(loaded: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        first_events, "load_run", lambda _run, _data, *, replay: loaded if replay else None
    )
    shown = CliRunner().invoke(command_line.app, ["first-events", "run"])
    assert shown.exit_code == 0
    assert "| 0 | 2 |" in shown.stdout
    asked = CliRunner().invoke(command_line.app, ["first-events", "run", "--json"])
    assert table(json.loads(asked.stdout[asked.stdout.index("{") :])) in shown.stdout
