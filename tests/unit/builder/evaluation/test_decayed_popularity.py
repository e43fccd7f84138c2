"""Decayed popularity follows what is popular now, and does not look ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.data import Holdout, Sequences, Split
from builder.data.decayed_counts import DecayedCounts
from builder.evaluation.baselines import Fitted, ItemWeights, recency_ease
from builder.evaluation.decayed_popularity import (
    DECAYED,
    JOINED,
    TIME_CONSTANTS,
    WEIGHTS,
    DecayedPopularity,
    choose_decay,
    decayed_popularity,
)
from builder.evaluation.ranking import rank_holdout
from tests.unit.builder.model.tiny import sequences, split_of

DAY = 86_400


def asked(targets: Sequence[int], times: Sequence[int], *histories: Sequence[int]) -> Holdout:
    known = sequences(*histories, times=[[0] * len(history) for history in histories])
    known = replace(known, request_times=np.array(times, np.int64))
    return Holdout(known, np.array(targets, np.int32))


def days_of(item: int, first: int, last: int, each: int = 1) -> tuple[list[int], list[int]]:
    times = [DAY * day + place for day in range(first, last) for place in range(each)]
    return [item] * len(times), times


def fashions() -> Sequences:
    """Item 0 for the first hundred days, then item 1 for ten; item 2 comes tomorrow, at once."""
    found = [days_of(0, 0, 100), days_of(1, 100, 110), days_of(2, 111, 112, each=999)]
    return sequences(*(items for items, _ in found), times=[times for _, times in found])


def fashion_split() -> Split:
    # In the middle of the first fashion, and at the end of the second.
    return split_of(fashions(), asked([0, 1], [50 * DAY, 110 * DAY], [], []))


def test_what_is_popular_now_comes_first() -> None:
    split = fashion_split()
    scorer = decayed_popularity(split, 3, None)[DECAYED]
    assert rank_holdout(scorer, split.test, 3).rank.tolist() == [1, 1]
    assert choose_decay(split, 3, None).time_constant < 30 * DAY
    year = DecayedPopularity(DecayedCounts(fashions(), 3, 365 * DAY))
    assert rank_holdout(year, split.test, 3).rank.tolist() == [1, 2]


def test_what_comes_later_is_not_looked_at() -> None:
    split = fashion_split()
    ahead = asked([2], [110 * DAY], [])
    for scorer in decayed_popularity(split, 3, recency_ease(split, 3)).values():
        assert rank_holdout(scorer, ahead, 3).rank.tolist() == [3]


def test_the_target_itself_is_no_leak_where_the_log_holds_it() -> None:
    # The test user's own event stands in the log that is counted.
    log = sequences([0, 1], [1], times=[[1, 5 * DAY], [5 * DAY]])
    held_out = asked([1], [5 * DAY], [0])
    split = split_of(log, held_out)
    for scorer in decayed_popularity(split, 3, None).values():
        assert scorer.scores(held_out.histories)[0, 1] == 0


def no_ease() -> Fitted:
    nothing = ItemWeights(np.zeros((3, 3), np.float32))
    return Fitted(nothing, nothing)


def test_one_weight_joins_both() -> None:
    split = fashion_split()
    found = decayed_popularity(split, 3, no_ease())
    assert list(found) == [DECAYED, JOINED]
    # EASE knows nothing here, so the trend decides alone.
    assert rank_holdout(found[JOINED], split.test, 3).rank.tolist() == [1, 1]
    assert choose_decay(split, 3, no_ease().on_train).weight == WEIGHTS[1]

    class Knows:
        """Ranks the targets first, whatever is popular."""

        def scores(self, histories: Sequences) -> NDArray[np.float32]:
            assert histories.request_times is not None
            late = histories.request_times > 100 * DAY
            scores: NDArray[np.float32] = np.stack([~late, late, late & ~late], 1).astype("f4")
            return scores

    assert choose_decay(split, 3, Knows()) == (TIME_CONSTANTS[0], 0.0)


def test_scores_are_their_sum() -> None:
    split = fashion_split()
    ones = ItemWeights(np.ones((3, 3), np.float32))
    joined = decayed_popularity(split, 3, Fitted(no_ease().on_train, ones))[JOINED]
    chosen = choose_decay(split, 3, no_ease().on_train)
    known = asked([1], [110 * DAY], [0, 2]).histories
    counts = DecayedCounts(fashions(), 3, chosen.time_constant).at(np.array([110 * DAY]))
    expected = 2 + chosen.weight * np.log1p(counts)
    np.testing.assert_allclose(joined.scores(known), expected, rtol=1e-6)


def test_validation_events_are_counted_in_the_end() -> None:
    train = sequences([0], times=[[1]])
    split = split_of(train, asked([0], [DAY], []), sequences([0, 1, 1], times=[[1, 2, 3]]))
    scorer = decayed_popularity(split, 2, None)[DECAYED]
    assert rank_holdout(scorer, asked([1], [DAY], []), 2).rank.tolist() == [1]


def test_histories_without_a_time_of_request_are_refused() -> None:
    scorer = decayed_popularity(fashion_split(), 3, None)[DECAYED]
    with pytest.raises(ValueError, match="when each history is asked about"):
        scorer.scores(sequences([0]))
