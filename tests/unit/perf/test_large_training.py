from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from builder.data import DataConfig, read
from perf.__main__ import main
from perf.large_training import make_log, phases


def test_a_made_log_has_tastes(tmp_path: Path) -> None:
    make_log(tmp_path / "log", events=20_000, items=500, users=400)
    events, catalogue = read(DataConfig(tmp_path / "log"))
    assert (len(catalogue), len(events.user_ids)) == (500, 400)
    assert len(events) == pytest.approx(20_000, rel=0.02)
    group = np.array([text.split()[2].partition("x")[0] for text in catalogue.texts])
    for user in range(20):
        assert len(np.unique(group[events.item[events.user == user]])) <= 4
    assert np.bincount(events.item, minlength=500).max() > 5 * 20_000 / 500  # some are popular


LOG = """\
23:59:50 INFO     interactions.csv: user user_id
23:59:55 INFO     text vectors: 0 of 5000 different texts are taken
00:00:10 INFO     max history: 143 events
00:00:10 INFO     stage 1: the adapter on frozen text vectors
00:00:20 INFO     epoch 1: validation NDCG@10 0.0765
and a line without a time
00:00:30 INFO     train the network: 191 of 3400; about 8 min left
00:00:41 INFO     epoch 2: validation NDCG@10 0.0865
00:00:50 INFO     linear term: EASE
00:00:52 INFO     trend: none
00:00:53 INFO     stage 2: the last 2 BERT layers with the adapter
00:01:00 INFO     cache the lower layers: 10 of 20; about 9 s left
00:01:53 INFO     epoch 3: validation NDCG@10 0.1
00:02:00 INFO     linear term: EASE
"""


def test_the_phases_of_a_training_come_from_its_log() -> None:
    found = phases(LOG, 140.0)
    assert found == {
        "read the log, encode the texts": 20,
        "first stage": 31,
        "choose what stands beside the network, test": 12 + 7 + 10,
        "second stage": 60,
    }
    again = LOG + "00:02:01 INFO     training again with the held-out events: 5 events\n"
    again += "00:02:01 INFO     stage 1: the adapter\n00:02:31 INFO     stage 2: the last\n"
    found = phases(again, 171.0)
    assert found["second training"] == 40
    assert sum(found.values()) == 171


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
    assert {"first stage", "second stage"} < set(found["phases"])
    assert "100 users, 100 items" in (tmp_path / "log").read_text()
