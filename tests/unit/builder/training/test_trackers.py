from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import ConfigError
from builder.training import trackers
from builder.training.config import TrainingConfig
from builder.training.run import train
from builder.unfinished_run import partial_directory
from tests.unit.builder.training.test_run import config

__all__ = ["config"]


def test_trackers_that_are_not_there(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        train(config, tmp_path / "run", track=("wandb", "mlflow", "paper"))
    assert str(caught.value).splitlines() == [
        "--track wandb: the package wandb is not installed; pip install wandb",
        "--track mlflow: the package mlflow is not installed; pip install mlflow",
        "--track paper: must be one of mlflow, wandb",
    ]
    assert not partial_directory(tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what mlflow does with sqlalchemy
def test_both_stages_are_runs_of_mlflow(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")  # mlflow 3 refuses directories
    small = replace(config, epochs=1, tune_epochs=1)
    train(small, tmp_path / "run", track=("mlflow",))
    runs = mlflow.search_runs(output_format="list", search_all_experiments=True)
    assert {run.info.run_name for run in runs} == {"run adapter", "run tuning"}
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.params["options/width"] == str(small.width)
        assert run.data.params["options/backbone"] == small.backbone
        assert {"loss", "eval_ndcg_10"} <= set(run.data.metrics)  # mlflow takes no @
