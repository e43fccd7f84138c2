"""How much what is popular counts is chosen on logs that have one answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builder.data import Holdout, Sequences
from builder.data.decayed_counts import DecayedCounts
from builder.evaluation.ranking import rank_scores
from builder.training.trend_choice import choose_trend
from model_repository.core.trend import NO_TREND, trend_logits
from tests.unit.builder.model.tiny import sequences

DAY = 86_400
ITEMS = 60
USERS = 40


def fashions() -> Sequences:
    """Each item is met ten times on its own day."""
    return sequences(
        *[[item] * 10 for item in range(ITEMS)],
        times=[[DAY * item + place for place in range(10)] for item in range(ITEMS)],
    )


def asked(*, fashionable: bool) -> Holdout:
    """Users of different days, whose next item is that of the day, or any other."""
    days = 5 + np.arange(USERS)
    targets = days if fashionable else (days * 7 + 3) % ITEMS
    histories = sequences(*[[0]] * USERS, times=[[0]] * USERS)
    histories = replace(histories, request_times=DAY * days + DAY // 2)
    return Holdout(histories, targets.astype(np.int32))


NOTHING = np.zeros((USERS, ITEMS), np.float32)


def test_where_people_want_what_is_popular_it_decides() -> None:
    users = asked(fashionable=True)
    trend, added = choose_trend(NOTHING, users, fashions())
    assert trend
    assert trend.time_constant <= 30 * DAY
    assert (rank_scores(added.copy(), users.histories, users.targets) == 1).all()
    counts = DecayedCounts(fashions(), ITEMS, trend.time_constant)
    times = users.histories.request_times
    assert times is not None
    np.testing.assert_allclose(added, trend_logits(counts.at(times), trend.weight), rtol=1e-5)


def test_where_they_do_not_there_is_none() -> None:
    users = asked(fashionable=False)
    known = NOTHING.copy()
    known[np.arange(USERS), users.targets] = 0.05  # so little that any trend would push it down
    trend, added = choose_trend(known, users, fashions())
    assert trend is NO_TREND
    assert not added.any()


def test_what_the_network_knows_already_is_not_added() -> None:
    users = asked(fashionable=True)
    knows = NOTHING.copy()
    knows[np.arange(USERS), users.targets] = 100
    assert choose_trend(knows, users, fashions())[0] is NO_TREND


@pytest.mark.parametrize("without", ["times of the log", "times of requests"])
def test_without_times_there_is_none(without: str) -> None:
    users, log = asked(fashionable=True), fashions()
    if without == "times of the log":
        log = replace(log, times=None)
    else:
        users = Holdout(replace(users.histories, request_times=None), users.targets)
    assert choose_trend(NOTHING, users, log)[0] is NO_TREND
