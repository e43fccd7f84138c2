from __future__ import annotations

from pathlib import Path

import numpy as np

from builder.data import DataConfig, Holdout, Sequences, leave_one_out, read
from builder.evaluation.ranking import rank_holdout
from builder.training.config import TrainingConfig
from builder.training.sasrec import train_sasrec
from tests.unit.builder.model.tiny import ITEMS, sequences


def test_sasrec_learns_the_order_without_any_text(log: Path, tmp_path: Path) -> None:
    config = TrainingConfig(
        DataConfig(log), "", width=16, dropout=0.1, epochs=40, learning_rate=0.01
    )
    # Users walk round the items in their order, so that the next one can be known.
    split = leave_one_out(Sequences.from_interactions(read(DataConfig(log))[0]))
    scorer = train_sasrec(split, ITEMS, 0, config, tmp_path)
    assert rank_holdout(scorer, split.test, ITEMS).hit_rate(5) > 0.9
    held_out = Holdout(sequences([0, 1, 2, 3]), np.array([4], np.int32))
    assert rank_holdout(scorer, held_out, ITEMS).rank[0] <= 2
