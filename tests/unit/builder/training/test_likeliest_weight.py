"""The weight of a term is found again on targets that were drawn by it."""

from __future__ import annotations

import numpy as np
import pytest

from builder.data import Holdout
from builder.training.likeliest_weight import likeliest_weight
from model_repository.core.arrays import Floats
from tests.unit.builder.model.tiny import sequences

USERS, ITEMS = 3_000, 40
SEEN = [0, 1, 2]
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 1, (USERS, ITEMS)).astype(np.float32)
TERM = RANDOM.normal(0, 1, ITEMS).astype(np.float32)


def drawn_by(logits: Floats) -> Holdout:
    chances = np.exp(logits)
    chances[:, SEEN] = 0
    shares = np.cumsum(chances, 1) / chances.sum(1, keepdims=True)
    targets = (np.random.default_rng(1).random((USERS, 1)) > shares).sum(1).astype(np.int32)
    return Holdout(sequences(*[SEEN] * USERS), targets)


@pytest.mark.parametrize("scale", [0.2, 3.0])
@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_it_is_found_whatever_the_units(scale: float, unit: float) -> None:
    users = drawn_by(LOGITS + np.float32(0.7) * TERM)
    found = likeliest_weight(np.float32(scale) * LOGITS, np.float32(unit) * TERM, users)
    assert found.weight == pytest.approx(0.7 * scale / unit, rel=0.08)


def test_the_loss_is_that_of_the_targets() -> None:
    users = drawn_by(LOGITS + TERM)
    _, loss = likeliest_weight(LOGITS, TERM, users)
    logits = np.delete(LOGITS + TERM, SEEN, axis=1).astype(np.float64)
    logits -= np.log(np.exp(logits).sum(1, keepdims=True))
    assert loss == pytest.approx(-logits[np.arange(USERS), users.targets - len(SEEN)].mean(), 1e-3)


def test_what_speaks_against_the_targets_has_none() -> None:
    assert likeliest_weight(LOGITS, -TERM, drawn_by(LOGITS + TERM)).weight == 0


def test_what_was_seen_does_not_count() -> None:
    users = drawn_by(LOGITS + TERM)
    hidden = LOGITS.copy()
    hidden[:, SEEN] = 50
    assert likeliest_weight(hidden, TERM, users).weight == pytest.approx(1, rel=0.08)


def test_a_term_may_decide_alone() -> None:
    nothing = np.zeros_like(LOGITS)
    found = likeliest_weight(nothing, TERM, drawn_by(2 * np.broadcast_to(TERM, LOGITS.shape)))
    assert found.weight == pytest.approx(2, rel=0.08)
