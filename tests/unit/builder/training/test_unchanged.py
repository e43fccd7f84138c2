"""Options that are off leave a training as it was before there were any: published figures stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.unit.builder.training.test_run import config, run

__all__ = ["config", "run"]

# Of the same run by the code of before: last recorded when the histories of a step began to go
# through the network in parts, which draws other random numbers. One more or less moves a loss in
# its second digit; another machine's arithmetic far behind the fourth.
RECORDED = {
    "adapter": {
        "train/loss": [2.48779, 2.440295, 2.383787, 2.275354],
        "eval/ndcg@10": [0.587084, 0.810759, 0.87976, 0.913093],
        "eval/ndcg@10_text": [0.578232, 0.643164, 0.691506, 0.749013],
    },
    "tuning": {
        "train/loss": [3.683606, 3.826242, 3.069568],
        "eval/ndcg@10": [0.675905, 0.753556, 0.776186],
        "eval/ndcg@10_text": [0.608825, 0.560907, 0.559589],
    },
}


@pytest.mark.parametrize("stage", RECORDED)
def test_the_loss_curve_is_what_it_was(run: Path, stage: str) -> None:
    events = EventAccumulator(str(run / "tensorboard" / stage))
    events.Reload()
    for tag, values in RECORDED[stage].items():
        found = [each.value for each in events.Scalars(tag)]
        assert found == pytest.approx(values, abs=2e-4 if tag == "train/loss" else 2e-2), tag
