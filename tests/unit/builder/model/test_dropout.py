from __future__ import annotations

import pytest
import torch

from builder.model.dropout import Dropout, quicken

X = torch.full((300, 401), 2.0)


@pytest.mark.parametrize("probability", [0.1, 0.4, 0.9])
def test_as_many_are_left_out_as_is_said_and_the_mean_stays(probability: float) -> None:
    torch.manual_seed(0)
    found = Dropout(probability)(X)
    assert (found == 0).double().mean().item() == pytest.approx(probability, abs=0.005)
    assert found[found != 0].unique().tolist() == pytest.approx([2 / (1 - probability)], rel=1e-3)
    assert found.mean().item() == pytest.approx(2, rel=0.05)


def test_no_number_follows_from_its_neighbours() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(X) != 0).double().flatten()
    for lag in (1, 2, 4, 401):
        together = (kept[lag:] * kept[:-lag]).mean().item()
        assert together == pytest.approx(0.25, abs=0.006)


def test_the_state_of_torch_says_what_is_drawn() -> None:
    dropout = Dropout(0.4)
    torch.manual_seed(3)
    first, second = dropout(X), dropout(X)
    torch.manual_seed(3)
    assert torch.equal(dropout(X), first)
    assert not torch.equal(first, second)


def test_what_is_left_out_has_no_gradient() -> None:
    x = X.clone().requires_grad_()
    found = Dropout(0.4)(x)
    found.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, found)


def test_nothing_is_left_out_outside_training() -> None:
    assert torch.equal(Dropout(0.4).eval()(X), X)
    assert torch.equal(Dropout(0.0)(X), X)


def test_the_dropout_of_a_network_is_exchanged() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.3))
    quicken(network)
    assert [type(each) for each in network] == [torch.nn.Linear, Dropout]
    assert network[1].p == 0.3
