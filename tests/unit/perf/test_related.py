"""What related items and searches find, of a model whose texts tell items apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from builder.data import DataConfig, Holdout
from builder.reports.trained_run import TrainedRun
from builder.training.config import TrainingConfig
from model_repository.core.similarity import WEIGHT
from perf import __main__ as command_line
from perf import related
from perf.errors import PerfError
from perf.related import ALONE, WEIGHTS, related_figures, table
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences, split_of


def run(backbone: Path, directory: Path, histories: list[list[int]]) -> TrainedRun:
    test = Holdout(sequences(*histories), np.arange(len(histories), dtype=np.int32))
    config = TrainingConfig(DataConfig(directory), str(backbone))
    log = sequences([0, 1, 2], [1, 2, 3])
    return TrainedRun(directory, recommender(backbone), config, split_of(log, test))


def test_the_weight_that_is_served_is_among_those_that_are_measured() -> None:
    assert WEIGHT in WEIGHTS


def test_the_next_item_is_sought_among_those_that_are_like_the_last(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(related, "K", 1)
    loaded = run(backbone, tmp_path, [[]])
    vectors = loaded.model.item_vectors()[0].numpy()
    centred = vectors - vectors.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = unit @ unit.T
    farthest = cosine.argmin(axis=1)
    np.fill_diagonal(cosine, -1)
    # Half of the users go on with what is most like the last item of theirs.
    nearest = cosine.argmax(axis=1)
    targets = np.where(np.arange(ITEMS) % 2, nearest, farthest).astype(np.int32)
    test = Holdout(sequences(*[[(item + 1) % ITEMS, item] for item in range(ITEMS)]), targets)
    loaded = TrainedRun(tmp_path, loaded.model, loaded.training, split_of(loaded.split.train, test))
    found = related_figures(loaded, ITEMS)
    assert found["users"] == ITEMS
    row = found["related"]["item vectors"]
    assert row[ALONE] == pytest.approx(np.mean(targets == nearest))
    assert row.keys() == {ALONE, *(f"{weight:g}" for weight in WEIGHTS)}
    for each in found["search"].values():
        assert 0 < each[ALONE]["mrr"] <= 1
    shown = table(found)
    assert "| item vectors |" in shown
    assert "| last two words: MRR |" in shown


def test_users_without_a_history_show_no_item(backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(PerfError, match="no user of the test has a history"):
        related_figures(run(backbone, tmp_path, [[], []]), 2)
    assert related_figures(run(backbone, tmp_path, [[], [2, 1]]), 2)["users"] == 1


def test_the_command_writes_what_it_shows(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = run(backbone, tmp_path, [[1, 2], [2, 3]])
    monkeypatch.setattr(related, "load_run", lambda _run, _data: loaded)
    file = tmp_path / "figures.json"
    shown = CliRunner().invoke(command_line.app, ["related", "run", "--output", str(file)])
    assert shown.exit_code == 0
    assert table(json.loads(file.read_text())) in shown.stdout
