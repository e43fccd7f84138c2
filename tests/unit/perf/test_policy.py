"""What the controls of the policy cost and bring, on a model that was never trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.data import DataConfig, Holdout
from builder.reports.trained_run import TrainedRun
from builder.training.config import TrainingConfig
from model_repository.core.attributes import list_column
from perf import policy
from perf.errors import PerfError
from perf.plots import draw
from perf.policy import divergence, policy_figures, table
from tests.unit.builder.model.tiny import ITEM_PROFILE, recommender, sequences, split_of


@pytest.fixture
def run(backbone: Path, tmp_path: Path) -> TrainedRun:
    test = Holdout(sequences([0], [1]), np.array([4, 5], np.int32))
    model = recommender(backbone, item_profile=ITEM_PROFILE)
    config = TrainingConfig(DataConfig(tmp_path), str(backbone))
    return TrainedRun(tmp_path, model, config, split_of(sequences([0, 1, 2]), test))


def test_each_control_has_a_curve_and_a_cost(
    run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DIVERSITIES", "PENALTIES"):
        monkeypatch.setattr(policy, name, (0.5,))
    found: dict[str, Any] = policy_figures(run, match="genre")
    assert list(found["curves"]) == [
        "dpp", "msd", "mmr", "ssd", "dpp by text", "dpp by genre", "popularity penalty", "match"
    ]  # fmt: skip
    assert found["plain"]["ndcg@10"] > 0
    assert {"all off", "diversity", "match genre", "all three"} <= found["cost"].keys()
    assert "| msd 0.5 |" in table(found)
    names = [file.name for file in draw(found, tmp_path, "p")]
    assert names == [f"p-{each}.svg" for each in ("diversity", "coverage", "gini", "novelty")]
    alone = policy_figures(run, on="validation")
    assert "match" not in alone["curves"]
    with pytest.raises(PerfError, match="no such column"):
        policy_figures(run, match="brand")


def test_divergence_is_steck_s() -> None:
    genres = list_column([["a"], ["b"], ["a", "b"], []])
    held_out = Holdout(sequences([0, 1, 1, 1], [3]), np.array([2, 2], np.int32))
    found = divergence(genres, held_out, np.array([[0, 2, -1], [0, 1, 2]], np.int32))
    wanted, listed = np.array([0.25, 0.75]), np.array([0.75, 0.25])
    assert found == pytest.approx(wanted @ np.log(wanted / (0.99 * listed + 0.01 * wanted)))
