"""Options that are off leave a training as it was before there were any: published figures stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.unit.training.test_training_run import config, run

__all__ = ["config", "run"]

# Of the same run by the code before --freeze, --loss and their kin. A random number more or less
# moves a loss in its second digit; another machine's arithmetic far behind the fourth.
RECORDED = {
    "adapter": {
        "train/loss": [2.483824, 2.446723, 2.341891, 2.248915],
        "eval/ndcg@10": [0.641704, 0.659221, 0.925395, 0.790267],
        "eval/ndcg@10_text": [0.598551, 0.598935, 0.671008, 0.717991],
    },
    "tuning": {
        "train/loss": [2.976748, 3.010897],
        "eval/ndcg@10": [0.755352, 0.702797],
        "eval/ndcg@10_text": [0.587088, 0.539028],
    },
}


@pytest.mark.parametrize("stage", RECORDED)
def test_the_loss_curve_is_what_it_was(run: Path, stage: str) -> None:
    events = EventAccumulator(str(run / "tensorboard" / stage))
    events.Reload()
    for tag, values in RECORDED[stage].items():
        found = [each.value for each in events.Scalars(tag)]
        assert found == pytest.approx(values, abs=2e-4 if tag == "train/loss" else 2e-2), tag
