"""What old counts cost, on a log where they are all that tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from builder.data import DataConfig, Holdout
from builder.model.scoring import counted
from builder.reports.trained_run import TrainedRun
from builder.training.config import TrainingConfig
from model_repository.core.trend import Trend
from perf.plots import draw
from perf.trend_age import replayed_figures, table
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences, split_of

DAY = 86_400


def test_the_older_the_counts_the_worse_where_fashions_pass(backbone: Path, tmp_path: Path) -> None:
    # Each item has its own day, and is asked for in the evening of it.
    log = sequences(
        *[[item] * 9 for item in range(ITEMS)],
        times=[[DAY * item + place for place in range(9)] for item in range(ITEMS)],
    )
    asked = sequences(*[[]] * (ITEMS - 8), times=[[]] * (ITEMS - 8))
    days = np.arange(8, ITEMS)
    test = Holdout(replace(asked, request_times=DAY * days + DAY // 2), days.astype(np.int32))
    model = replace(
        recommender(backbone), trend=counted(Trend(DAY, 50.0, np.zeros(0), 0), log, ITEMS)
    )
    config = TrainingConfig(DataConfig(tmp_path), str(backbone))
    found = replayed_figures(TrainedRun(tmp_path, model, config, split_of(log, test)))
    ages = [found["trend_age"][name]["ndcg@10"] for name in ("fresh", "an hour", "a day", "a week")]
    assert ages[0] == ages[1] == 1
    assert max(ages[2:]) < 0.5
    assert found["trend_age"]["no trend"]["ndcg@10"] < ages[1]
    assert "| a week |" in table(found)
    assert [file.name for file in draw(found, tmp_path, "age")] == ["age-trend.svg"]
