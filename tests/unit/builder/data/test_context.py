"""Events that are kept in the histories and never recommended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.data import DataConfig, Holdout, Sequences, leave_one_out, read, split_log
from builder.data.splits import temporal_split
from builder.errors import DataError
from tests.unit.builder.model.tiny import sequences

Write = Callable[..., Path]

ITEMS = "item_id,title\n" + "".join(f"{item},title {item}\n" for item in range(6))
RATED = (
    "user_id,item_id,rating,timestamp\n"
    "a,0,5,10\na,1,2,20\na,2,4,30\na,3,1,40\nb,4,3,10\nc,5,4,10\nc,0,3,20\n"
)


def test_low_ratings_are_kept_as_what_was_not_liked(write: Write) -> None:
    log, catalogue = read(
        DataConfig(write(interactions__csv=RATED, items__csv=ITEMS), min_rating=4)
    )
    assert log.user_ids == ["a", "c"]  # b liked nothing
    assert [catalogue.item_ids[item] for item in log.item] == ["0", "1", "2", "3", "5", "0"]
    assert log.target is not None
    assert log.target.tolist() == [True, False, True, False, True, False]
    assert log.actions == ["disliked", "liked"]
    assert log.action is not None
    assert log.action.tolist() == [2, 1, 2, 1, 2, 1]


def test_dropped_context_leaves_what_was_liked(write: Write) -> None:
    directory = write(interactions__csv=RATED, items__csv=ITEMS)
    log, _ = read(DataConfig(directory, min_rating=4, context="drop"))
    assert log.item.tolist() == [0, 2, 5]
    assert (log.target, log.action, log.actions) == (None, None, [])


def test_where_everything_was_liked_there_is_no_context(write: Write) -> None:
    log, _ = read(DataConfig(write(interactions__csv=RATED, items__csv=ITEMS), min_rating=1))
    assert (log.target, log.action, log.actions) == (None, None, [])


def test_users_are_kept_by_their_targets(write: Write) -> None:
    directory = write(interactions__csv=RATED, items__csv=ITEMS)
    assert read(DataConfig(directory, min_rating=4, min_events=2))[0].user_ids == ["a"]


def test_target_actions(write: Write) -> None:
    log_of_actions = (
        "user_id,item_id,action\na,0,view\na,1,buy\na,2,\nb,3,buy\nb,4,cart\nc,1,view\n"
    )
    directory = write(interactions__csv=log_of_actions, items__csv=ITEMS)
    log, _ = read(DataConfig(directory, target_actions=("buy", "cart")))
    assert log.user_ids == ["a", "b"]
    assert log.target is not None
    assert log.target.tolist() == [False, True, False, True, True]
    assert log.actions == ["buy", "cart", "view"]  # the log's own, as they are
    assert log.action is not None
    assert log.action.tolist() == [3, 1, 0, 1, 2]


def test_a_target_action_that_nobody_did_is_named(write: Write) -> None:
    log_of_actions = "user_id,item_id,action\na,0,view\na,1,buy\n"
    directory = write(interactions__csv=log_of_actions, items__csv=ITEMS)
    with pytest.raises(DataError, match=r"no event has the target action 'bought'.* buy, view"):
        read(DataConfig(directory, target_actions=("bought",)))


def test_target_actions_need_actions(write: Write) -> None:
    directory = write(interactions__csv=RATED, items__csv=ITEMS)
    with pytest.raises(DataError, match="action"):
        read(DataConfig(directory, target_actions=("buy",)))


def held(holdout: Holdout) -> dict[str, tuple[list[int], int]]:
    return {
        user: (holdout.histories.items_of(row).tolist(), int(holdout.targets[row]))
        for row, user in enumerate(holdout.histories.user_ids)
    }


def test_the_last_targets_are_held_out_and_context_stays_in_the_histories() -> None:
    log = sequences(
        *[[0, 1, 2, 3, 4, 5, 6]] * 8,
        [7, 8, 9],
        target=[*[[1, 0, 1, 0, 1, 1, 0]] * 8, [0, 1, 1]],
    )
    split = leave_one_out(log)
    assert held(split.test)["u0"] == ([0, 1, 2, 3, 4], 5)
    assert held(split.validation)["u0"] == ([0, 1, 2, 3], 4)
    assert "u8" not in held(split.test)  # two targets are too few
    assert split.train.items_of(0).tolist() == [0, 1, 2, 3]
    assert split.train.items_of(8).tolist() == [7, 8, 9]
    assert split.train.target is not None
    assert split.train.target[:4].tolist() == [True, False, True, False]


def test_users_of_two_targets_are_dealt_out() -> None:
    log = sequences(*[[0, 1, 2]] * 20, target=[[1, 1, 0]] * 20)
    split = leave_one_out(log)
    assert len(split.test) == len(split.validation) == 2
    assert all(found == ([0], 1) for found in held(split.test).values())
    assert all(found == ([0], 1) for found in held(split.validation).values())
    lengths = split.train.lengths.tolist()
    assert sorted(set(lengths)) == [1, 3]


def test_in_time_the_first_target_of_a_window_is_held_out() -> None:
    log = sequences(
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2],
        times=[[1, 2, 11, 12, 21, 22], [3, 12, 23]],
        target=[[1, 0, 0, 1, 0, 1], [1, 0, 1]],
    )
    split = temporal_split(log, 10, 20)
    assert held(split.validation) == {"u0": ([0, 1, 2], 3)}  # u1 has no target there
    assert held(split.test) == {"u0": ([0, 1, 2, 3, 4], 5), "u1": ([0, 1], 2)}
    assert [split.train.items_of(row).tolist() for row in range(2)] == [[0, 1], [0]]


def test_cold_items_are_held_out_as_targets() -> None:
    log = sequences(*[[0, 1, 2, 3, 4, 5]] * 9, target=[[1, 0, 1, 1, 0, 1]] * 9)
    split = split_log(log, 6, method="leave-one-out", hold_out_items=0.5, seed=1)
    cold = set(split.cold_items.tolist())
    liked = {0, 2, 3, 5}
    assert cold & liked
    assert cold - liked  # the seed draws one that is context as well
    for history, target in held(split.cold).values():
        assert target == max(cold & liked)
        assert history == list(range(target))
    assert not cold & set(split.train.items.tolist())


logs = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=12), min_size=1, max_size=12
)


@given(logs)
def test_targets_alone_are_split_as_a_log_of_them(users: list[list[tuple[int, bool]]]) -> None:
    mixed = sequences(
        *[[item for item, _ in user] for user in users],
        target=[[wanted for _, wanted in user] for user in users],
    )
    alone = mixed.without_context()
    try:
        expected = leave_one_out(alone)
    except DataError:
        with pytest.raises(DataError):
            leave_one_out(mixed)
        return
    found = leave_one_out(mixed)
    for part in ("validation", "test"):
        mine, theirs = getattr(found, part), getattr(expected, part)
        assert mine.targets.tolist() == theirs.targets.tolist()
        assert mine.histories.user_ids == theirs.histories.user_ids
        liked = mine.histories.without_context()
        np.testing.assert_array_equal(liked.items, theirs.histories.items)
        np.testing.assert_array_equal(liked.offsets, theirs.histories.offsets)
    np.testing.assert_array_equal(found.train.without_context().items, expected.train.items)


def test_views() -> None:
    log = sequences([0, 1, 2], [3], actions=[[1, 2, 1], [2]], target=[[1, 0, 1], [0]])
    alone = log.without_context()
    assert [alone.items_of(row).tolist() for row in range(2)] == [[0, 2], []]
    assert alone.actions is not None
    assert alone.actions.tolist() == [1, 1]
    assert alone.target is None
    alike = log.without_distinction()
    assert alike.target is None
    assert alike.items is log.items
    assert alone.without_context() is alone
    everything = Sequences(log.user_ids, log.offsets, log.items, None, None)
    assert everything.without_distinction() is everything
