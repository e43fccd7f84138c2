"""Fewer popular items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model_repository.core.errors import InvalidRequest
from model_repository.core.policy.popularity import Popularity
from tests.unit.model_repository.core.policy.lists import (
    CATALOGUE,
    ITEMS,
    asked,
    best_first,
    listed,
)

STAGE = Popularity()
EVENTS = np.random.default_rng(0).integers(0, 500, ITEMS)
KNOWN = replace(CATALOGUE, log_events=np.log1p(EVENTS).astype(np.float32))


@pytest.mark.parametrize("penalty", [0.3, 1.0])
def test_the_events_are_taken_off_the_logits(penalty: float) -> None:
    candidates = best_first(KNOWN)
    value = candidates.logit - penalty * np.log(1 + EVENTS[:20])
    expected = sorted(np.argsort(-value)[:5].tolist())
    assert expected != [0, 1, 2, 3, 4]
    assert listed(STAGE, candidates, asked(KNOWN, popularity_penalty=penalty)) == expected


def test_items_that_are_as_popular_stay() -> None:
    known = replace(KNOWN, log_events=np.full(ITEMS, 3, np.float32))
    assert listed(STAGE, best_first(known), asked(known, popularity_penalty=1.0)) == [0, 1, 2, 3, 4]


def test_only_the_pool_is_chosen_from_and_asked_for() -> None:
    context = asked(KNOWN, popularity_penalty=1.0, pool=6)
    assert STAGE.wanted(context) == 6
    assert max(listed(STAGE, best_first(KNOWN), context)) < 6


def test_a_model_that_does_not_know_the_events_refuses() -> None:
    with pytest.raises(
        InvalidRequest, match=r"popularity_penalty needs the events.*export it again"
    ):
        STAGE.check(asked(popularity_penalty=0.1))


def test_it_is_off_unless_asked_for() -> None:
    assert not STAGE.applies(asked(KNOWN).options)
