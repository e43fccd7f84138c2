"""Whether named events count, in logs and models where it is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from builder.data import DataConfig, Holdout
from builder.reports.trained_run import TrainedRun
from builder.training.config import TrainingConfig
from model_repository.core.reasons import only
from model_repository.core.users import History
from perf import __main__ as command_line
from perf import faithfulness
from perf.errors import PerfError
from perf.faithfulness import WAYS, faithfulness_figures, tables
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences, split_of


def histories(number: int = 8) -> Holdout:
    """Users who have seen half of the items, in any order."""
    random = np.random.default_rng(0)
    rows = [random.permutation(ITEMS)[: ITEMS // 2].tolist() for _ in range(number)]
    return Holdout(sequences(*rows), np.zeros(number, np.int32))


@pytest.fixture
def loaded(backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedRun:
    """A tiny run whose lists hold two of the six items that nobody has seen."""
    monkeypatch.setattr(faithfulness, "K", 2)
    log = sequences([0, 1, 2], [1, 2, 3])
    config = TrainingConfig(DataConfig(tmp_path), str(backbone))
    return TrainedRun(tmp_path, recommender(backbone), config, split_of(log, histories()))


def test_what_is_named_keeps_an_item_in_the_list(loaded: TrainedRun) -> None:
    found = faithfulness_figures(loaded, histories())
    assert found["users"] == 8
    assert 8 <= found["items"] <= 16
    shares = found["faithfulness"]
    assert list(shares) == list(WAYS)
    alone = {way: row["alone"]["share"] for way, row in shares.items()}
    assert alone["named"] > max(alone["latest"], alone["random"])
    without = {way: row["without"]["share"] for way, row in shares.items()}
    assert without["leave-one-out"] < without["random"]
    for row in shares.values():
        for each in row.values():
            low, high = each["interval"]
            assert 0 <= low <= each["share"] <= high <= 1


def test_all_events_of_a_user_keep_the_list_and_none_are_left_without(
    loaded: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(history: History, events: list[int]) -> History:
        asked.append(len(events))
        return History(history.slots[events], history.actions[events], history.ages[events])

    monkeypatch.setattr(faithfulness, "only", counted)
    one = Holdout(sequences([3], [7]), np.zeros(2, np.int32))
    found = faithfulness_figures(loaded, one)
    assert set(asked) == {0, 1}
    rows = found["faithfulness"].values()
    assert {row["alone"]["share"] for row in rows} == {1.0}


def test_as_many_of_the_latest_events_stand_beside(loaded: TrainedRun) -> None:
    lists = faithfulness._Lists(loaded, histories())
    history = lists._histories[0]
    chosen = [each for each in lists._chosen(history, np.arange(ITEMS, dtype=np.int32)) if each]
    assert chosen
    length = len(history.slots)
    for by_way in chosen:
        assert len({len(events) for events in by_way.values()}) == 1
        assert by_way["latest"] == set(range(length - len(by_way["named"]), length))


def test_users_without_a_history_tell_nothing(loaded: TrainedRun) -> None:
    nobody = Holdout(sequences([], []), np.zeros(2, np.int32))
    with pytest.raises(PerfError, match="no item has a reason"):
        faithfulness_figures(loaded, nobody)
    past = histories(1).histories.items_of(0).tolist()
    both = Holdout(sequences([], past), np.zeros(2, np.int32))
    assert faithfulness_figures(loaded, both)["users"] == 1


def test_what_was_seen_stays_out_of_the_list(loaded: TrainedRun) -> None:
    """Else the items of the events that are left out would take places of it."""
    lists = faithfulness._Lists(loaded, histories())
    history = lists._histories[0]
    part = only(history, [0])
    assert not set(lists._best(0, [part])[0].tolist()) & set(history.slots.tolist())


def test_the_command_writes_what_it_shows(
    loaded: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faithfulness, "load_run", lambda _run, _data: loaded)
    file = tmp_path / "figures.json"
    words = ["faithfulness", "run", "--users", "3", "--output", str(file)]
    shown = CliRunner().invoke(command_line.app, words)
    assert shown.exit_code == 0
    figures = json.loads(file.read_text())
    assert (figures["users"], figures["on"]) == (3, "test")
    assert tables(figures) in shown.stdout
    assert "| named |" in shown.stdout
