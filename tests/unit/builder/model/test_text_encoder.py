from __future__ import annotations

import pytest
import torch

from builder.model.pooling import POOLINGS, Pooling
from builder.model.text_encoder import LowerLayers, NoLowerLayers, TextEncoder
from builder.training.text_vectors import TunedTextVectors
from tests.unit.builder.model.backbones import BACKBONES, PAD, encoder

ROWS = torch.tensor([[5, 9, 3, 7, 2], [4, 8, 6, PAD, PAD], [11, PAD, PAD, PAD, PAD]])


@pytest.mark.parametrize("trainable", [1, 2, 3])
@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_upper_layers_go_on_where_the_lower_ones_stopped(name: str, trainable: int) -> None:
    model = encoder(name)
    names, whole = list(model.state_dict()), model(ROWS)
    lower = LowerLayers(model, trainable)
    hidden = lower.hidden(ROWS)
    lower.take_off()
    assert sum(1 for key in model.state_dict() if "embeddings" in key) == 0
    assert len(model.state_dict()) < len(names)
    torch.testing.assert_close(lower.upper(hidden, ROWS != PAD), whole)
    # What stands in the padded places is never read.
    junk = torch.where((ROWS != PAD).unsqueeze(-1), hidden, torch.tensor(9.0))
    torch.testing.assert_close(lower.upper(junk, ROWS != PAD), whole)
    lower.rejoin()
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(ROWS), whole, rtol=0, atol=0)


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_where_nothing_is_frozen_texts_start_from_their_ids(name: str) -> None:
    model = encoder(name)
    whole = NoLowerLayers(model)
    states = [row[row != PAD] for row in whole.hidden(ROWS)]
    tuned = TunedTextVectors(model, whole, states, model(ROWS), learning=2, batch=2).eval()
    torch.testing.assert_close(tuned(torch.tensor([2, 0, 1])), model(ROWS)[[2, 0, 1]])


def test_only_the_upper_layers_can_learn_while_the_lower_ones_are_off() -> None:
    model = encoder("bert")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lower = LowerLayers(model, 1)
    hidden = lower.hidden(ROWS)
    lower.take_off()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lower.upper(hidden, ROWS != PAD).square().sum().backward()
    optimizer.step()
    lower.rejoin()
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed
    assert all("layer.2" in name for name in changed)


@pytest.mark.parametrize("trainable", [0, 4])
def test_layers_that_do_not_exist(trainable: int) -> None:
    with pytest.raises(ValueError, match=f"must be 1 to 3, not {trainable}"):
        LowerLayers(encoder("bert"), trainable)


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_a_row_does_not_depend_on_its_batch_or_padding(pooling: Pooling) -> None:
    model = encoder("roberta", pooling)
    together = model(ROWS)
    assert together.shape == (3, 16)
    for row, vector in zip(ROWS, together, strict=True):
        torch.testing.assert_close(model(row[row != PAD].unsqueeze(0))[0], vector)


@torch.no_grad()
def test_pooling_by_hand() -> None:
    model = encoder("bert")
    hidden = torch.randn(2, 3, 16)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    pooled = model.pool(hidden, mask)
    torch.testing.assert_close(pooled, torch.stack([hidden[0, :2].mean(0), hidden[1].mean(0)]))
    torch.testing.assert_close(encoder("bert", "cls").pool(hidden, mask), hidden[:, 0])
    fresh = TextEncoder(model.backbone, PAD, "attention")  # starts as the mean
    torch.testing.assert_close(fresh.pool(hidden, mask), pooled)


@torch.no_grad()
def test_a_row_of_padding_alone_is_finite() -> None:
    for pooling in POOLINGS:
        assert encoder("bert", pooling)(torch.full((2, 3), PAD)).isfinite().all()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("batch", [1, 2, 9])
@torch.no_grad()
def test_tuned_vectors_are_the_plain_ones_in_the_order_asked(pooling: Pooling, batch: int) -> None:
    model = encoder("bert", pooling)
    plain = model(ROWS)
    lower = LowerLayers(model, 2)
    states = [
        state[row != PAD].clone() for state, row in zip(lower.hidden(ROWS), ROWS, strict=True)
    ]
    lower.take_off()
    latest = torch.zeros_like(plain)
    tuned = TunedTextVectors(model, lower, states, latest, learning=2, batch=batch).eval()
    for items in ([0, 1, 2], [0, 2, 1], [2, 0], [1], [2, 1, 2, 0]):
        torch.testing.assert_close(tuned(torch.tensor(items)), plain[items])


def test_a_step_learns_from_a_few_texts_and_keeps_the_others() -> None:
    model = encoder("bert")
    lower = LowerLayers(model, 2)
    states = [
        state[row != PAD].clone() for state, row in zip(lower.hidden(ROWS), ROWS, strict=True)
    ]
    lower.take_off()
    before = torch.full((3, model.width), 7.0)
    tuned = TunedTextVectors(model, lower, states, before, learning=1).train()
    given = tuned(torch.arange(3))
    kept = (given == before).all(dim=1)
    assert kept.sum() == 2
    torch.testing.assert_close(tuned.latest, given.detach())
    given[kept].sum().backward(retain_graph=True)
    assert all(
        parameter.grad is None or not parameter.grad.any() for parameter in model.parameters()
    )
    given.sum().backward()
    assert any(
        parameter.grad is not None and parameter.grad.any() for parameter in model.parameters()
    )
