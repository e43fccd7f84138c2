from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from builder.data import DataConfig
from builder.evaluation.report import Row
from builder.training.config import TrainingConfig
from builder.training.model_card import model_card
from builder.training.run import train

FEW: Any = {"width": 8, "layers": 1, "heads": 2, "epochs": 1, "tune_epochs": 0, "refit": "none"}


@pytest.fixture(scope="module")
def trained(
    log: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Row]]:
    output = tmp_path_factory.mktemp("runs") / "run"
    return output, train(TrainingConfig(DataConfig(log), str(backbone), **FEW), output)


def test_the_hub_reads_the_figures_of_the_model(trained: tuple[Path, list[Row]]) -> None:
    run, rows = trained
    card = ModelCard.load(run / "README.md")
    (full,) = [row for row in rows if row.name == "frozen BERT: full model"]
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found["ndcg_at_10"] == round(full.metrics["ndcg@10"], 4)
    assert found["hr_at_10"] == round(full.metrics["hr@10"], 4)
    assert all(f"| {row.name} |" in card.content for row in rows)
    assert "This model is *frozen BERT*" in card.content
    assert card.data.license is None  # nobody said one


def test_no_path_of_this_machine_is_in_it(trained: tuple[Path, list[Row]], log: Path) -> None:
    text = (trained[0] / "README.md").read_text("utf-8")
    assert str(log) not in text
    assert str(log.parent) not in text
    assert ModelCard(text).data.get("base_model") is None


def test_intervals_a_backbone_of_the_hub_and_what_is_learnt_again_are_told(
    trained: tuple[Path, list[Row]], log: Path, backbone: Path
) -> None:
    from builder.data import Sequences, leave_one_out, read
    from builder.model.checkpoint import load_checkpoint

    run, rows = trained
    metrics = rows[0].metrics | {"ndcg@10": 0.1}
    rows = [replace(rows[0], metrics=metrics, ndcg_standard_error=0.01)]
    config = TrainingConfig(DataConfig(log), str(backbone), **FEW)
    interactions, _ = read(config.data)
    split = leave_one_out(Sequences.from_interactions(interactions, config.data.min_events))
    named = replace(config, backbone="google/bert", refit="all")
    text = model_card(named, load_checkpoint(run), split, rows, "frozen BERT: ")
    assert ModelCard(text).data.get("base_model") == "google/bert"
    assert "| 0.1000 ± 0.0196 |" in text
    assert "trained again on all events" in text
    assert "SentenceTransformer" in text
