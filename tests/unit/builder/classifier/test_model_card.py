from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from transformers import pipeline

from builder.classifier.config import ClassifierConfig
from builder.classifier.data import Examples, LabelledTexts
from builder.classifier.model_card import classifier_card
from builder.classifier.report import Row
from builder.classifier.training import train_classifier


@pytest.fixture(scope="module")
def config(
    tmp_path_factory: pytest.TempPathFactory, tiny: Callable[[str], Path]
) -> ClassifierConfig:
    file = tmp_path_factory.mktemp("data") / "tastes.csv"
    rows = [f"film {number},{'yes' if number % 3 else 'no'}" for number in range(60)]
    file.write_text("\n".join(["text,label", *rows]))
    return ClassifierConfig(file, str(tiny("bert")), max_length=12, epochs=1)


@pytest.fixture(scope="module")
def trained(
    config: ClassifierConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Row]]:
    output = tmp_path_factory.mktemp("runs") / "run"
    return output, train_classifier(config, output)


def test_the_hub_reads_the_figures_of_the_model(trained: tuple[Path, list[Row]]) -> None:
    run, rows = trained
    card = ModelCard.load(run / "README.md")
    after = rows[-1].metrics
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found == {
        "accuracy": round(after["accuracy"], 4),
        "f1": round(after["macro_f1"], 4),
        "roc_auc": round(after["roc_auc"], 4),
    }
    assert {each.dataset_name for each in card.data.eval_results} == {"tastes.csv"}
    assert card.data.license is None  # nobody said one
    for row in rows:
        figures = " | ".join(f"{each:.4f}" for each in row.metrics.values())
        assert f"| {row.name} | {row.examples} | {figures} |" in card.content
    assert "This model is *after fine-tuning*" in card.content


def test_it_has_how_many_examples_of_each_label_there_were(trained: tuple[Path, list[Row]]) -> None:
    text = (trained[0] / "README.md").read_text("utf-8")
    assert "| no | 16 | 2 | 2 |\n| yes | 32 | 4 | 4 |\n" in text
    assert "training split too" not in text


def test_no_path_of_this_machine_is_in_it(
    trained: tuple[Path, list[Row]], config: ClassifierConfig
) -> None:
    text = (trained[0] / "README.md").read_text("utf-8")
    assert str(config.data.parent) not in text
    assert str(Path(config.backbone).parent) not in text
    assert ModelCard(text).data.get("base_model") is None


def test_the_run_loads_as_it_says(trained: tuple[Path, list[Row]]) -> None:
    run, _ = trained
    card = ModelCard.load(run / "README.md")
    classify = pipeline(card.data.pipeline_tag, model=str(run))
    (found,) = classify(["film 7"])
    assert found["label"] in ("no", "yes")


def test_a_backbone_of_the_hub_odd_labels_and_repeated_texts_are_told(
    trained: tuple[Path, list[Row]], config: ClassifierConfig
) -> None:
    labels = np.array([0, 1])
    part = Examples([("film", ""), ("book", "")], labels)
    data = LabelledTexts(("a|b", "{two}\nlines"), part, part, part)
    named = replace(config, backbone="google/bert", data=Path("it's: #1.csv"))
    text = classifier_card(named, data, trained[1])
    card = ModelCard(text)
    assert card.data.get("base_model") == "google/bert"
    assert "name: 'it''s: #1.csv'" in text
    assert "| a\\|b | 1 | 1 | 1 |\n| {two} lines | 1 | 1 | 1 |\n" in text
    assert "The texts of 2 of the 2 test examples are in the training split too" in text
