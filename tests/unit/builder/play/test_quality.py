from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard.writer import SummaryWriter

from builder.play import quality

ROW = {
    "name": "full model",
    "users": 12,
    "metrics": {"ndcg@10": 0.2, "hr@10": 0.3, "mrr": 0.1},
    "ndcg_standard_error": 0.05,
    "ece": None,
}
TOLD = {"protocol": "full ranking", "split": "temporal", "rows": [ROW]}


def test_the_table_is_what_training_wrote(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(TOLD))
    table = quality.table(tmp_path)
    assert table is not None
    assert (table.protocol, table.split, table.users) == ("full ranking", "temporal", 12)
    (row,) = table.rows
    assert row.name == "full model"
    assert row.metrics == [0.2, 0.3, 0.1, None]
    assert 'x2="200.0"' in row.drawing  # the largest upper bound is the scale's end


@pytest.mark.parametrize("told", [None, [], {}, {**TOLD, "rows": []}, {**TOLD, "rows": [{}]}, "x"])
def test_a_table_that_is_missing_or_damaged_is_none(tmp_path: Path, told: Any) -> None:
    if told is not None:
        (tmp_path / "metrics.json").write_text(json.dumps(told))
    assert quality.table(tmp_path) is None


def test_curves_are_those_of_the_log_files(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "tensorboard/adapter")) as writer:
        for step in (1, 2, 3):
            writer.add_scalar("train/loss", 1 / step, step)
            writer.add_scalar("eval/ndcg@10", step / 10, step)
            writer.add_scalar("train/grad_norm", 1.0, step)
    first, second = quality.curves(tmp_path)
    assert (
        first.title == "Adapter on frozen text: NDCG@10 on the validation users, by training step"
    )
    assert first.names == ["whole model"]
    assert second.names == ["loss"]
    assert "<polyline" in second.drawing


def test_a_run_without_logs_has_no_curves(tmp_path: Path) -> None:
    assert quality.curves(tmp_path) == []
