"""What of BERT learns in the second stage, how fast, and by what updates."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from transformers import AutoModel, AutoTokenizer, TrainingArguments

from builder.errors import ConfigError
from builder.model.checkpoint import load_backbone, load_checkpoint
from builder.model.recommender import encode_texts
from builder.model.text_encoder import LowerLayers
from builder.training import lora, masked_language_model
from builder.training.adversarial import perturbed
from builder.training.config import TrainingConfig
from builder.training.objective import TuningObjective
from builder.training.run import train
from builder.training.text_vectors import TunedTextVectors
from builder.training.trainer import NextItemTrainer
from builder.training.windows import Windows
from tests.shared import first_of
from tests.unit.builder.model.tiny import ITEMS, TEXTS, adapter, recommender, sequences
from tests.unit.builder.training.test_run import config, figures, keep_tuned

__all__ = ["config"]

Weights = dict[str, torch.Tensor]


@pytest.fixture
def changed(
    config: TrainingConfig, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Weights]:
    """Trains with these options; what was added to each weight of BERT."""
    keep_tuned(monkeypatch)

    def run(**options: Any) -> Weights:
        train(replace(config, epochs=1, tune_epochs=1, **options), tmp_path / "run")
        before = AutoModel.from_pretrained(backbone).state_dict()
        after = AutoModel.from_pretrained(tmp_path / "run/encoder").state_dict()
        assert before.keys() == after.keys()
        return {name: after[name] - before[name] for name in before}

    return run


def learnt(weights: Weights) -> set[str]:
    """Which of the embeddings and the layers 0, 1 and 2 are other than they were."""
    return {
        name.split(".")[2] if name.startswith("encoder.layer.") else name.split(".")[0]
        for name, difference in weights.items()
        if difference.any()
    }


@pytest.mark.parametrize(
    ("freeze", "expected"),
    first_of(
        [
            ("1", {"1", "2"}),
            ("none", {"embeddings", "0", "1", "2"}),
            ("embeddings", {"0", "1", "2"}),
            ("-1", {"2"}),
        ]
    ),
)
def test_what_is_not_frozen_learns(
    changed: Callable[..., Weights], freeze: str, expected: set[str], tmp_path: Path
) -> None:
    assert learnt(changed(freeze=freeze)) == expected
    model = load_checkpoint(tmp_path / "run")
    vectors = encode_texts(model.encoder, model.tokenizer, TEXTS)
    torch.testing.assert_close(vectors, model.text_vectors, rtol=1e-5, atol=1e-5)


def test_a_run_learns_from_adversarial_examples_of_the_length_that_it_is_told(
    changed: Callable[..., Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = set()

    def seen(weight: nn.Parameter, length: float) -> AbstractContextManager[None]:
        rates.add(length)
        return perturbed(weight, length)

    monkeypatch.setattr("builder.training.trainer.perturbed", seen)
    changed(freeze="none", adversarial=0.25, refit="none")
    assert rates == {0.25}


def test_with_everything_frozen_there_is_no_second_stage(
    config: TrainingConfig, tmp_path: Path
) -> None:
    frozen = train(replace(config, epochs=1, freeze="all"), tmp_path / "frozen")
    without = train(replace(config, epochs=1, tune_epochs=0), tmp_path / "without")
    assert [row.to_dict() for row in frozen] == [row.to_dict() for row in without]


def test_updates_of_a_low_rank_end_as_a_plain_bert(
    changed: Callable[..., Weights], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    weights = changed(lora_rank=2, freeze="1", tune_learning_rate=0.05)
    assert learnt(weights) == {"1", "2"}
    for name, difference in weights.items():
        if difference.any():
            assert name.endswith("weight")
            assert torch.linalg.matrix_rank(difference, rtol=1e-4) == 2, name
    linear = [name for name, difference in weights.items() if difference.any()]
    assert len(linear) == 2 * 6  # query, key, value, output, and both of the feed-forward
    model = load_checkpoint(tmp_path / "run")
    vectors = encode_texts(model.encoder, model.tokenizer, TEXTS)
    torch.testing.assert_close(vectors, model.text_vectors, rtol=1e-5, atol=1e-5)


@pytest.mark.sweep
def test_low_rank_updates_go_on_where_they_were_interrupted(
    config: TrainingConfig, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    asked = replace(config, lora_rank=2, tune_learning_rate=0.05)
    train(asked, tmp_path / "undisturbed")

    def interrupt(task: str, done: int, _total: int) -> None:
        if task == "train BERT along" and done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "run", progress=interrupt)
    train(asked, tmp_path / "run", resume=True)
    assert figures(tmp_path / "run") == figures(tmp_path / "undisturbed")


@pytest.mark.parametrize("task", ["train BERT along", "train BERT along again"])
def test_low_rank_updates_begin_alike_where_the_first_stage_was_not_run_again(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """Interrupted after the first stage, and before the second has a state of its own."""
    pytest.importorskip("peft")
    drawn: list[torch.Tensor] = []

    @contextmanager
    def seen(backbone: nn.Module, layers: nn.ModuleList, rank: int) -> Iterator[None]:
        with lora.low_rank(backbone, layers, rank):
            named = dict(layers.named_parameters())
            drawn.append(next(named[name] for name in named if "lora_A" in name).detach().clone())
            yield

    keep_tuned(monkeypatch)
    monkeypatch.setattr("builder.training.learning.low_rank", seen)
    asked = replace(config, lora_rank=2, tune_learning_rate=0.05)

    def interrupt(current: str, _done: int, _total: int) -> None:
        if current == task:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "run", progress=interrupt)
    undisturbed = drawn[-1]
    drawn.clear()
    train(asked, tmp_path / "run", resume=True)
    assert len(drawn) == 2
    assert torch.equal(drawn[task.endswith("again")], undisturbed)


def test_without_peft_the_extra_is_named_before_any_work(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install 'tritonrec\[builder,lora\]'"):
        train(replace(config, lora_rank=2), tmp_path / "run")


def test_bert_has_its_own_rate_and_vectors_have_no_decay(backbone: Path, tmp_path: Path) -> None:
    encoder = recommender(backbone).encoder
    lower = LowerLayers(encoder, 2)
    lower.take_off()
    text_vectors = torch.zeros(ITEMS, encoder.width)
    text = TunedTextVectors(encoder, lower, [torch.tensor([2])], text_vectors, learning=2)
    popularity = torch.ones(ITEMS, dtype=torch.long)
    objective = TuningObjective(
        adapter(), text, popularity, text_vectors, id_dropout=0.5, feature_dropout=0.0
    )
    trainer = NextItemTrainer(
        objective,
        TrainingArguments(
            output_dir=str(tmp_path), learning_rate=0.5, weight_decay=0.1, report_to=[]
        ),
        Windows(sequences([0, 1, 2]), 4),
        None,  # type: ignore[arg-type] # nothing is validated here
        encoder_learning_rate=0.01,
    )
    of = {
        parameter: (group["lr"], group["weight_decay"])
        for group in trainer.create_optimizer().param_groups
        for parameter in group["params"]
    }
    for name, parameter in objective.named_parameters():
        rate = 0.01 if name.startswith("text.") else 0.5
        assert of[parameter] == (rate, 0.1 if parameter.dim() > 1 else 0.0), name


def learning_rates(run: Path, stage: str) -> list[float]:
    """After each epoch, as TensorBoard has them."""
    events = EventAccumulator(str(run / "tensorboard" / stage))
    events.Reload()
    return [scalar.value for scalar in events.Scalars("train/learning_rate")]


def test_the_learning_rate_falls_as_is_asked_for(config: TrainingConfig, tmp_path: Path) -> None:
    asked = replace(config, epochs=4, tune_epochs=4, patience=4, warmup_epochs=0.0, refit="none")
    done = np.arange(1, 8, 2) / 8  # two steps an epoch; that of the second is what is told
    shares = {
        "constant": np.ones(4), "linear": 1 - done, "cosine": (1 + np.cos(np.pi * done)) / 2,
    }  # fmt: skip
    for schedule in ("auto", "linear", "cosine"):
        train(replace(asked, schedule=schedule), tmp_path / schedule)
        for stage, usual, height in (("adapter", "constant", 1.0), ("tuning", "linear", 0.5)):
            share = shares[usual if schedule == "auto" else schedule]
            found = learning_rates(tmp_path / schedule, stage)
            np.testing.assert_allclose(found, config.learning_rate * height * share, rtol=1e-4)


@pytest.fixture
def masking(backbone: Path, tmp_path: Path) -> Path:
    """The same BERT with a mask among its words."""
    directory = tmp_path / "masking"
    model = AutoModel.from_pretrained(backbone)
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def test_masked_words_are_guessed_better_and_better(
    masking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(masked_language_model, "LEARNING_RATE", 0.005)
    backbone, tokenizer = load_backbone(str(masking))
    with caplog.at_level("INFO", "builder"):
        masked_language_model.adapt_to_texts(
            backbone, str(masking), tokenizer, TEXTS * 50, epochs=8, max_length=8, seed=0,
            file=tmp_path / "mlm",
        )  # fmt: skip
    (line,) = (each for each in caplog.messages if each.startswith("masked words"))
    first, last = (float(word) for word in line.replace(",", "").split() if "." in word)
    assert last < 0.8 * first
    untouched, _ = load_backbone(str(masking))
    before = untouched.state_dict()
    changed = {name: weight - before[name] for name, weight in backbone.state_dict().items()}
    assert learnt(changed) == {"embeddings", "0", "1", "2"}


def test_what_masked_words_taught_is_what_the_run_has(
    config: TrainingConfig, masking: Path, tmp_path: Path
) -> None:
    asked = replace(config, backbone=str(masking), mlm_epochs=10, tune_epochs=0, epochs=1)
    train(asked, tmp_path / "run")
    before = AutoModel.from_pretrained(masking).state_dict()
    after = AutoModel.from_pretrained(tmp_path / "run/encoder").state_dict()
    changed = {name: after[name] - before[name] for name in before}
    assert learnt(changed) == {"embeddings", "0", "1", "2"}
    model = load_checkpoint(tmp_path / "run")
    vectors = encode_texts(model.encoder, model.tokenizer, TEXTS)
    torch.testing.assert_close(vectors, model.text_vectors, rtol=1e-5, atol=1e-5)
    assert not list((tmp_path / "run/encoder").glob("mlm*"))


@pytest.mark.sweep
def test_masked_words_are_not_guessed_twice_when_a_run_goes_on(
    config: TrainingConfig, masking: Path, tmp_path: Path
) -> None:
    asked = replace(config, backbone=str(masking), mlm_epochs=2, tune_epochs=0)
    train(asked, tmp_path / "undisturbed")
    for task in ("guess masked words", "train the network"):

        def interrupt(current: str, _done: int, _total: int, task: str = task) -> None:
            if current == task:
                raise KeyboardInterrupt

        output = tmp_path / task
        with pytest.raises(KeyboardInterrupt):
            train(asked, output, progress=interrupt)
        tasks: list[str] = []
        train(asked, output, resume=True, progress=partial(_note, tasks))
        assert ("guess masked words" in tasks) == (task == "guess masked words")
        assert figures(output) == figures(tmp_path / "undisturbed")


def test_a_mask_that_the_network_has_no_embedding_of(backbone: Path, tmp_path: Path) -> None:
    source = shutil.copytree(backbone, tmp_path / "masking")
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    tokenizer.save_pretrained(source)
    model, hub_tokenizer = load_backbone(str(source))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    masked_language_model.adapt_to_texts(
        model, str(source), hub_tokenizer, TEXTS,
        epochs=5, max_length=8, seed=0, file=tmp_path / "weights",
    )  # fmt: skip
    changed = {name: weight - before[name] for name, weight in model.state_dict().items()}
    assert learnt(changed) == {"embeddings", "0", "1", "2"}


def _note(tasks: list[str], task: str, _done: int, _total: int) -> None:
    tasks.append(task)


def test_a_backbone_without_a_mask_is_refused(config: TrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--mlm-epochs: the tokenizer of .* has no mask"):
        train(replace(config, mlm_epochs=1), tmp_path / "run")
