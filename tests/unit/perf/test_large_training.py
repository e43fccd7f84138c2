from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from builder.data import DataConfig, read
from perf.__main__ import main
from perf.large_training import make_log


def test_a_made_log_has_tastes(tmp_path: Path) -> None:
    make_log(tmp_path / "log", events=20_000, items=500, users=400)
    events, catalogue = read(DataConfig(tmp_path / "log"))
    assert (len(catalogue), len(events.user_ids)) == (500, 400)
    assert len(events) == pytest.approx(20_000, rel=0.02)
    group = np.array([text.split()[2].partition("x")[0] for text in catalogue.texts])
    for user in range(20):
        assert len(np.unique(group[events.item[events.user == user]])) <= 4
    assert np.bincount(events.item, minlength=500).max() > 5 * 20_000 / 500  # some are popular


@pytest.mark.sweep
def test_a_training_is_measured(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("width=8", "max-history=4", "epochs=1", "tune-epochs=1")
    code = main([
        "large-training", "--events=2000", "--items=100", "--users=100", f"--backbone={backbone}",
        f"--log={tmp_path / 'log'}", "--json", *(f"--option=--{each}" for each in small),
    ])  # fmt: skip
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cpu"] > 0
    assert found["memory"] > 100
    assert "100 users, 100 items" in (tmp_path / "log").read_text()
