"""From the documented recipe's table of MovieLens to a checkpoint, in seconds."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    Trainer,
    TrainerCallback,
)
from typer.testing import CliRunner

import builder.classifier.training as training
from builder.classifier.checkpoint import load_classifier, load_examples
from builder.classifier.commands import train_classifier as command
from builder.classifier.config import ClassifierConfig
from builder.classifier.report import Row
from builder.classifier.training import train_classifier
from builder.errors import BuilderError, CheckpointError, ConfigError
from builder.unfinished_run import partial_directory
from tests.unit.builder.classifier.tiny import write_classifier
from tests.unit.builder.model.test_sentence_modules import flags, write_modules

DOCUMENT = Path(__file__).parents[4] / "docs" / "classifiers.md"


@pytest.fixture(scope="module")
def behaviour(movielens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script in the document writes."""
    directory = tmp_path_factory.mktemp("recipe")
    (code,) = re.findall(r'```python\n(""".*?)```', DOCUMENT.read_text("utf-8"), re.DOTALL)
    (directory / "recipe.py").write_text(code, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr(sys, "argv", ["recipe.py", str(movielens), "300"])
        runpy.run_path("recipe.py")
    return directory / "behaviour.csv"


@pytest.fixture(scope="module")
def config(behaviour: Path, tiny: Callable[[str], Path]) -> ClassifierConfig:
    return ClassifierConfig(
        behaviour, str(tiny("bert")), max_length=20, epochs=3, learning_rate=2e-3, batch_size=16
    )


@pytest.fixture(scope="module")
def trained(
    config: ClassifierConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Row]]:
    output = tmp_path_factory.mktemp("trained") / "run"
    return output, train_classifier(config, output)


def test_the_documents_table(behaviour: Path) -> None:
    table = pd.read_csv(behaviour, keep_default_na=False)
    assert table["split"].value_counts().to_dict() == {"train": 241, "validation": 30, "test": 29}
    assert set(table["label"]) == {"yes", "no"}


def test_the_checkpoint_is_a_plain_one(trained: tuple[Path, list[Row]]) -> None:
    run, rows = trained
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        run, output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert model.config.id2label == {0: "no", 1: "yes"}
    assert [row.name for row in rows] == [
        "majority class", "before fine-tuning", "after fine-tuning",
    ]  # fmt: skip
    assert rows[0].metrics["roc_auc"] == 0.5
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["rows"] == [row.to_dict() for row in rows]
    assert metrics["examples"] == {"train": 241, "validation": 30, "test": 29}
    assert load_classifier(str(run)).max_length == 20
    assert len(load_examples(str(run))) == 30
    assert {path.name for path in run.parent.iterdir()} == {"run"}
    assert not (run / "trainer").exists()


def test_the_same_seed_gives_the_same_figures(
    config: ClassifierConfig, trained: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    assert train_classifier(config, tmp_path / "run") == trained[1]


def test_learns_what_can_be_learnt(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    words = {"yes": ["story", "comedy"], "no": ["action", "thriller"]}
    rows = [f"film {words[label][n % 2]} {n % 7},cat,{label}" for n in range(80) for label in words]
    file = tmp_path / "easy.csv"
    file.write_text("\n".join(["text,text_pair,label", *rows]))
    config = ClassifierConfig(
        file, str(tiny("distilbert")), epochs=8, patience=8, learning_rate=3e-3, batch_size=8
    )
    after = train_classifier(config, tmp_path / "run")[-1]
    assert after.metrics["roc_auc"] > 0.95


def test_only_the_upper_layers_learn(
    config: ClassifierConfig, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    train_classifier(replace(config, tune_layers=1, epochs=1), tmp_path / "run")
    before = AutoModelForSequenceClassification.from_pretrained(tiny("bert")).state_dict()
    after = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    upper = ("bert.encoder.layer.1.", "bert.pooler.", "classifier.")
    assert all(name.startswith(upper) for name in changed)
    with pytest.raises(ConfigError, match="the backbone has 2 layers"):
        train_classifier(replace(config, tune_layers=3), tmp_path / "other")


@pytest.mark.parametrize("deeper", ["", "0_Transformer"])
def test_a_text_is_as_long_as_sentence_transformers_says(
    config: ClassifierConfig, tiny: Callable[[str], Path], tmp_path: Path, deeper: str
) -> None:
    source = tmp_path / "sentences"
    shutil.copytree(tiny("bert"), source / deeper)
    write_modules(source, flags("cls_token"), max_seq_length=12)
    train_classifier(replace(config, backbone=str(source), epochs=1), tmp_path / "run")
    assert load_classifier(str(tmp_path / "run")).max_length == 12


class Epochs(TrainerCallback):
    """Notes the epochs that begin, and interrupts one."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.begun: list[int] = []
        self._stop_at = stop_at

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self.begun.append(round(state.epoch or 0))
        if self.begun[-1] == self._stop_at:
            raise KeyboardInterrupt


def test_an_interrupted_run_is_resumed_to_the_same_figures(
    config: ClassifierConfig,
    trained: tuple[Path, list[Row]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "run"
    with pytest.raises(ConfigError, match="no interrupted run"):
        train_classifier(config, output, resume=True)
    first, second = Epochs(stop_at=1), Epochs()
    monkeypatch.setattr(training, "ReportProgress", lambda *_: first)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(config, output)
    assert not output.exists()
    with pytest.raises(CheckpointError, match="interrupted"):
        load_classifier(str(output))
    with pytest.raises(ConfigError, match="other options for epochs"):
        train_classifier(replace(config, epochs=9), output, resume=True)
    monkeypatch.setattr(training, "ReportProgress", lambda *_: second)
    assert train_classifier(config, output, resume=True) == trained[1]
    assert (first.begun, second.begun) == ([0, 1], [1, 2])
    with pytest.raises(ConfigError, match="exists"):
        train_classifier(config, output)


def test_a_state_that_was_being_written_is_not_resumed_from(
    config: ClassifierConfig,
    trained: tuple[Path, list[Row]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a kill leaves it, or a full disk: the newest state is there in part."""
    output = tmp_path / "run"
    monkeypatch.setattr(training, "ReportProgress", lambda *_: Epochs(stop_at=1))
    with pytest.raises(KeyboardInterrupt):
        train_classifier(config, output)
    (state,) = partial_directory(output).glob("trainer/checkpoint-*")
    newer = state.with_name(f"checkpoint-{int(state.name.split('-')[1]) + 1}")
    newer.mkdir()
    shutil.copy(state / "model.safetensors", newer)
    resumed = Epochs()
    monkeypatch.setattr(training, "ReportProgress", lambda *_: resumed)
    assert train_classifier(config, output, resume=True) == trained[1]
    assert resumed.begun == [1, 2]


@pytest.mark.parametrize(("stop_at", "resumed"), [(2, [2]), (None, [1, 2])])
def test_a_resumed_run_ends_by_patience_where_it_would_have_ended(
    config: ClassifierConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int | None,
    resumed: list[int],
) -> None:
    """Two epochs after its best one, the first; also where it had ended before it was cut short."""
    output = tmp_path / "run"
    falling = {"left": 10}

    def figures(_: Any) -> dict[str, float]:
        falling["left"] -= 1
        return {"roc_auc": falling["left"] / 10, "accuracy": 0.5}

    def ctrl_c(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_validation_figures", figures)
    first, second = Epochs(stop_at), Epochs()
    monkeypatch.setattr(training, "ReportProgress", lambda *_: first)
    patient = replace(config, epochs=6, patience=2)
    with monkeypatch.context() as patch:
        # Between the last state and the removal of what comes after the best one.
        patch.setattr(Trainer, "_load_best_model", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            train_classifier(patient, output)
    assert first.begun == [0, 1, 2]
    monkeypatch.setattr(training, "ReportProgress", lambda *_: second)
    train_classifier(patient, output, resume=True)
    assert second.begun == resumed


def test_a_backbone_that_is_none(config: ClassifierConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"--backbone .*nowhere: it cannot be loaded"):
        train_classifier(replace(config, backbone=str(tmp_path / "nowhere")), tmp_path / "run")


def write_albert(directory: Path) -> Path:
    """An ALBERT, whose layers share their weights, with a tokenizer."""
    write_classifier(directory)
    vocabulary = len(AutoTokenizer.from_pretrained(directory))
    shape: dict[str, Any] = {"vocab_size": vocabulary, "hidden_size": 16, "embedding_size": 8}
    config = AlbertConfig(**shape, num_attention_heads=2, intermediate_size=32, pad_token_id=0)
    AlbertModel(config).save_pretrained(directory)
    return directory


def test_a_refusal_leaves_nothing_behind(
    config: ClassifierConfig, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    albert = str(write_albert(tmp_path / "albert"))
    short = Path(shutil.copytree(tiny("bert"), tmp_path / "short"))
    described = json.loads((short / "config.json").read_text()) | {"max_position_embeddings": 3}
    BertModel(BertConfig(**described)).save_pretrained(short)
    partial = tmp_path / "run.partial"
    refused: list[tuple[dict[str, Any], str]] = [
        ({"backbone": albert, "tune_layers": 1}, "share their weights.*leave --tune-layers out"),
        ({"tune_layers": 3}, "the backbone has 2 layers"),
        ({"backbone": str(tmp_path / "nowhere")}, "cannot be loaded"),
        ({"backbone": str(short)}, "places for 3 tokens and 3 of them are special"),
        ({"data": tmp_path / "none.csv"}, "none.csv"),
    ]
    for options, message in refused:
        with pytest.raises(BuilderError, match=message):
            train_classifier(replace(config, **options), tmp_path / "run")
        assert not partial.exists()
    partial.mkdir()
    (partial / "training.json").write_text("{")
    with pytest.raises(ConfigError, match="leave --resume out"):
        train_classifier(config, tmp_path / "run", resume=True)
    with pytest.raises(ConfigError, match="share their weights"):
        train_classifier(replace(config, **refused[0][0]), tmp_path / "run")
    assert (partial / "training.json").read_text() == "{"  # an interrupted run outlives a refusal


def test_options_are_checked_together(behaviour: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        ClassifierConfig(
            behaviour, "b", max_length=2, tune_layers=0, epochs=0, learning_rate=float("nan"),
            weight_decay=float("inf"), seed=2**32,
        )  # fmt: skip
    message = str(refusal.value)
    for name in ("max_length", "tune_layers", "epochs", "learning_rate", "weight_decay", "seed"):
        assert f"  {name} " in message


def test_the_command(
    config: ClassifierConfig, trained: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    import typer

    app = typer.Typer()
    app.command()(command)
    options = {
        "--data": config.data,
        "--backbone": config.backbone,
        "--output": tmp_path / "run",
        "--max-length": config.max_length,
        "--epochs": config.epochs,
        "--learning-rate": config.learning_rate,
        "--batch-size": config.batch_size,
    }
    arguments = [str(part) for option in options.items() for part in option]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "29 test examples" in done.output
    assert f"{trained[1][-1].metrics['roc_auc']:.4f}" in done.output
