from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import TrainingArguments

from builder.model.text_encoder import NoLowerLayers
from builder.training.adversarial import START, perturbed
from builder.training.losses import TEMPERATURE, contrastive, softmax
from builder.training.objective import Loss, NextItemObjective, TuningObjective
from builder.training.text_vectors import TunedTextVectors
from builder.training.trainer import NextItemTrainer
from builder.training.windows import Windows
from model_repository.engines.tokenizer import TextTokenizer
from tests.unit.builder.model.tiny import ITEMS, TEXTS, adapter, recommender, sequences
from tests.unit.builder.training.test_objective import BATCH, POPULARITY, item_vectors, made

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
TARGET = torch.tensor([0, 2])


def with_loss(loss: Loss) -> NextItemObjective:
    plain = made()
    plain.loss = loss
    return plain


def test_smoothing_gives_every_candidate_its_share() -> None:
    likelihood = LOGITS.log_softmax(1)
    expected = -(0.9 * likelihood.gather(1, TARGET.unsqueeze(1)).squeeze(1)).mean()
    expected -= (0.1 / 3 * likelihood).sum(1).mean()
    found = softmax(LOGITS, torch.eye(3), torch.zeros(3), TARGET, smoothing=0.1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradients_are_those_of_the_whole_logits(
    monkeypatch: pytest.MonkeyPatch, smoothing: float
) -> None:
    monkeypatch.setattr("builder.training.losses._LOGITS", 3 * 7)  # three positions at a time
    torch.manual_seed(0)
    target = torch.randint(7, (8,))
    made = [5 * torch.randn(8, 4), torch.randn(7, 4), 50 + torch.randn(7)]
    usual, own = ([each.clone().requires_grad_() for each in made] for _ in range(2))
    logits = usual[0] @ usual[1].T + usual[2]
    expected = functional.cross_entropy(logits, target, label_smoothing=smoothing)
    found = softmax(own[0], own[1], own[2], target, smoothing=smoothing)
    torch.testing.assert_close(found, expected)
    for loss in (expected, found):
        (3 * loss).backward()
    for each, other in zip(own, usual, strict=True):
        torch.testing.assert_close(each.grad, other.grad)


def test_contrast_by_hand() -> None:
    text = torch.tensor([[2.0, 0.0], [0.0, 1.0]], requires_grad=True)
    items = torch.tensor([[1.0, 1.0], [0.0, 5.0]], requires_grad=True)
    half = 0.5**0.5
    logits = torch.tensor([[half, 0.0], [half, 1.0]]) / TEMPERATURE
    own = torch.tensor([0, 1])
    there, back = functional.cross_entropy(logits, own), functional.cross_entropy(logits.T, own)
    found = contrastive(text, items)
    torch.testing.assert_close(found, (there + back) / 2)
    found.backward()
    assert text.grad is not None
    assert text.grad.any()
    assert items.grad is None  # what is known by id is not bent


@torch.no_grad()
def test_the_objective_minimises_what_it_is_told_to() -> None:
    vectors, bias = item_vectors(made())
    asked = BATCH["targets"] != -100
    targets = BATCH["targets"][asked]
    states = made().adapter.states(vectors[BATCH["items"]], BATCH["actions"], BATCH["gaps"])
    plain = softmax(states[asked], vectors, bias, targets, smoothing=0.0)
    for loss, expected in (
        (Loss(), plain),
        (Loss(smoothing=0.2), softmax(states[asked], vectors, bias, targets, smoothing=0.2)),
    ):
        torch.testing.assert_close(with_loss(loss)(**BATCH)["loss"], expected)
    predicted = torch.unique(targets)
    text = made().adapter.from_text(made().text(predicted))
    full = text + made().adapter.residual(predicted)
    torch.testing.assert_close(
        with_loss(Loss(contrastive=0.3))(**BATCH)["loss"],
        plain + 0.3 * contrastive(text, full),
    )


def test_a_sample_is_drawn_of_a_small_catalogue_too_where_it_is_asked_for() -> None:
    objective = with_loss(Loss("sampled"))
    sizes = set()
    for seed in range(20):
        torch.manual_seed(seed)
        candidates, chance = objective._candidates(BATCH["targets"])
        sizes.add(len(candidates))
        assert (chance < 0).all()
    targets = len(set(BATCH["targets"].flatten().tolist()) - {-100})
    assert min(sizes) >= targets
    assert max(sizes) <= targets + ITEMS // 4
    assert torch.isfinite(objective(**BATCH)["loss"])


def test_words_move_as_far_as_is_said_and_back_again() -> None:
    words = nn.Parameter(torch.randn(5, 3))
    before = words.detach().clone()
    with pytest.raises(ValueError, match="clean examples"), perturbed(words, 0.5):
        pass
    words.square().sum().backward()
    with perturbed(words, 0.5):
        moved = words.detach() - before
    torch.testing.assert_close(moved.norm(), torch.tensor(0.5))
    torch.testing.assert_close(moved / 0.5, before / before.norm())
    assert torch.equal(words, before)


def tuning(backbone: Path) -> TuningObjective:
    model = recommender(backbone)
    rows = [
        torch.tensor(each.tokens) for each in TextTokenizer(backbone / "tokenizer.json", 8)(TEXTS)
    ]
    full = NoLowerLayers(model.encoder)
    text = TunedTextVectors(model.encoder, full, rows, model.text_vectors, learning=4)
    return TuningObjective(
        adapter(dropout=0), text, POPULARITY, model.text_vectors, id_dropout=0.5,
        feature_dropout=0.2,
    )  # fmt: skip


Step = Callable[[int], dict[str, torch.Tensor]]


def stepping(objective: TuningObjective, directory: Path, **options: Any) -> Step:
    """Takes a step of this number in a stage of 8; returns its gradients by name.

    And the texts as they last came out, ``latest``, and what is drawn afterwards, ``following``.
    """
    latest = objective.text.latest  # type: ignore[attr-defined]
    begin = latest.clone()
    trainer = NextItemTrainer(
        objective,
        TrainingArguments(output_dir=str(directory), report_to=[], use_cpu=True),
        Windows(sequences([0, 1, 2]), 4),
        None,  # type: ignore[arg-type] # nothing is validated here
        encoder_learning_rate=None,
        adversarial=0.5,
        **options,
    )
    trainer.state.max_steps = 8
    trainer.current_gradient_accumulation_steps = 1

    def step(number: int) -> dict[str, torch.Tensor]:
        objective.zero_grad()
        latest.copy_(begin)
        trainer.state.global_step = number
        torch.manual_seed(3)
        trainer.training_step(objective, dict(BATCH))
        gradients = {
            name: each.grad.clone()
            for name, each in objective.named_parameters()
            if each.grad is not None
        }
        return {**gradients, "latest": latest.clone(), "following": torch.rand(2)}

    return step


@pytest.mark.parametrize("pieces", [1, 2])
def test_adversarial_examples_are_learnt_from_beside_the_clean_ones(
    backbone: Path, tmp_path: Path, pieces: int
) -> None:
    objective = tuning(backbone)
    words = objective.text.encoder.backbone.get_input_embeddings().weight  # type: ignore[attr-defined]
    name = next(name for name, each in objective.named_parameters() if each is words)
    step = stepping(objective, tmp_path, accumulate=pieces)
    begin = words.detach().clone()
    clean = step(int(8 * START) - 1)
    with torch.no_grad():
        words.add_(0.5 * clean[name] / clean[name].norm())
    worse = step(0)
    with torch.no_grad():
        words.copy_(begin)
    both = step(int(8 * START))
    assert torch.equal(words, begin)
    for each in clean.keys() - {"latest", "following"}:
        expected = clean[each] + worse[each]
        torch.testing.assert_close(both[each], expected, rtol=1e-3, atol=1e-5, msg=each)
        assert name != each or not torch.allclose(clean[each], worse[each], rtol=1e-2)
    assert both.keys() == clean.keys()
    for each in ("latest", "following"):  # of the clean examples, and as after a single step
        torch.testing.assert_close(both[each], clean[each], msg=each)
