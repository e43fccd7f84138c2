from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import replace
from math import ceil
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builder.data import (
    DataConfig,
    Holdout,
    Sequences,
    Split,
    leave_one_out,
    read,
    split_log,
    temporal_split,
)
from builder.errors import ConfigError, DataError

Event = tuple[str, int, int]  # user, item, time

events = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 12)),
    min_size=1,
    max_size=40,
)


def sequences_of(log: list[Event], scale: int = 1) -> Sequences:
    """Read the log from a file, as in real life."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        rows = "".join(f"{user},{item},{time * scale}\n" for user, item, time in log)
        (directory / "interactions.csv").write_text(f"user_id,item_id,timestamp\n{rows}")
        items = "".join(f"{item},item\n" for item in range(6))
        (directory / "items.csv").write_text(f"item_id,title\n{items}")
        return Sequences.from_interactions(read(DataConfig(directory))[0])


def histories(sequences: Sequences) -> dict[str, list[int]]:
    return {
        user: sequences.items_of(position).tolist()
        for position, user in enumerate(sequences.user_ids)
    }


def targets(holdout: Holdout) -> dict[str, int]:
    return dict(zip(holdout.histories.user_ids, holdout.targets.tolist(), strict=True))


def contents(split: Split) -> list[object]:
    parts = (split.train, split.validation.histories, split.test.histories)
    return [*map(histories, parts), targets(split.validation), targets(split.test)]


def by_user(log: list[Event]) -> dict[str, list[tuple[int, int]]]:
    users: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for user, item, time in sorted(log, key=lambda event: event[2]):  # stable
        users[user].append((item, time))
    return users


@settings(deadline=None, max_examples=60)
@given(events)
def test_leave_one_out_holds_out_the_last_two(log: list[Event]) -> None:
    expected = {user: [item for item, _ in seen] for user, seen in by_user(log).items()}
    long = {user: items for user, items in expected.items() if len(items) >= 3}
    sequences = sequences_of(log)
    if not long:
        if sum(len(items) == 2 for items in expected.values()) < 2:
            with pytest.raises(DataError, match="no user has 3 events"):
                leave_one_out(sequences)
        return  # users of two events: see `test_users_of_two_events_are_dealt_out`
    split = leave_one_out(sequences)
    learnable = {user: items[:-1] if user in long else items for user, items in expected.items()}
    most = ceil(sum(map(len, learnable.values())) / 4)
    chosen = {user: items for user, items in long.items() if user in targets(split.validation)}
    assert len(chosen) == min(len(long), most)
    assert contents(split) == [
        {user: items[:-1] if user in chosen else items for user, items in learnable.items()},
        {user: items[:-2] for user, items in chosen.items()},
        {user: items[:-1] for user, items in long.items()},
        {user: items[-2] for user, items in chosen.items()},
        {user: items[-1] for user, items in long.items()},
    ]
    events = len(split.train.items)
    assert (split.refit is None) == (len(split.validation) <= 0.05 * events)
    assert histories(split.learnt) == (learnable if split.refit else histories(split.train))


def test_no_more_is_held_out_for_validation_than_a_choice_needs() -> None:
    many = [(f"{user}", 0, step) for user in range(2_600) for step in range(22)]
    split = leave_one_out(sequences_of(many))
    assert len(split.validation) == 2_000
    assert len(split.test) == 2_600
    assert len(split.train.items) == 2_600 * 21 - 2_000
    assert split.refit is None
    short = [(f"{user:02}", user % 6, step) for user in range(80) for step in range(3)]
    split = leave_one_out(sequences_of(short))
    held = [user.removeprefix("u") for user in split.validation.histories.user_ids]
    assert len(held) == 40  # a quarter of the 160 events that are no test event
    gaps = np.diff(sorted(int(user) for user in held))
    assert gaps.max() <= 3  # evenly spread
    assert split.refit is not None
    assert len(split.refit.items) == 160


@settings(deadline=None, max_examples=60)
@given(events, st.integers(0, 12), st.integers(1, 6))
def test_temporal_split_leaks_nothing(log: list[Event], start: int, length: int) -> None:
    stop = start + length
    users = by_user(log)
    before = {
        cut: {user: [item for item, time in seen if time < cut] for user, seen in users.items()}
        for cut in (start, stop)
    }
    first = {
        window: {
            user: next(item for item, time in seen if window[0] <= time < window[1])
            for user, seen in users.items()
            if any(window[0] <= time < window[1] for _, time in seen)
        }
        for window in ((start, stop), (stop, 10**6))
    }
    validation, test = first.values()
    train = {user: items for user, items in before[start].items() if items}
    sequences = sequences_of(log)
    if not (train and validation and test):
        with pytest.raises(DataError, match="each part needs one"):
            temporal_split(sequences, start, stop)
        return
    assert contents(temporal_split(sequences, start, stop)) == [
        train,
        {user: before[start][user] for user in validation},
        {user: before[stop][user] for user in test},
        validation,
        test,
    ]


@settings(deadline=None, max_examples=20)
@given(events, st.randoms(use_true_random=False), st.sampled_from([1, 125]))
def test_the_order_of_rows_at_different_times_does_not_matter(
    log: list[Event], random: Random, scale: int
) -> None:
    log = [(user, item, time) for time, (user, item, _) in enumerate(log)]
    shuffled = list(log)
    random.shuffle(shuffled)
    # Milliseconds, several to a second: sorting must not go by whole seconds.
    offset = 1_700_000_000_000 if scale > 1 else 0
    log, shuffled = (
        [(user, item, offset // scale + time) for user, item, time in rows]
        for rows in (log, shuffled)
    )
    one, other = sequences_of(log, scale), sequences_of(shuffled, scale)
    assert histories(one) == histories(other)
    assume(one.lengths.max() >= 3)
    assert contents(leave_one_out(one)) == contents(leave_one_out(other))


def test_default_moments_are_quantiles_of_the_events() -> None:
    log = [("a" if time % 2 else "b", time % 6, time) for time in range(100)]
    split = temporal_split(sequences_of(log))
    assert split.train.times is not None
    assert split.train.times.max() == 79
    assert split.test.histories.times is not None
    assert split.test.histories.times.max() == 89
    assert targets(split.test) == {"b": 90 % 6, "a": 91 % 6}


def test_a_user_new_in_the_window_has_an_empty_history() -> None:
    split = temporal_split(sequences_of([("a", 1, 1), ("b", 2, 5), ("c", 3, 9)]), 5, 9)
    assert contents(split) == [{"a": [1]}, {"b": []}, {"c": []}, {"b": 2}, {"c": 3}]


def test_moments_must_be_in_order() -> None:
    with pytest.raises(ConfigError, match="test must start later"):
        temporal_split(sequences_of([("a", 1, 1)]), 5, 5)


@pytest.mark.parametrize("method", ["leave-one-out", "temporal"])
def test_each_history_knows_when_its_target_came(method: str) -> None:
    log = [(user, item, 10 * item + place) for place, user in enumerate("abc") for item in range(6)]
    # A time says which event it is of: its user and its item.
    times = {
        10 * item + place: (user, item) for place, user in enumerate("abc") for item in range(6)
    }
    split = split_log(sequences_of(log), 6, method=method)
    assert split.train.request_times is None
    for holdout in (split.validation, split.test):
        for part in (holdout, holdout.spread(1), *holdout.chunks(2)):
            known = part.histories.where(part.histories.items > 0)
            for each in (part.histories, known, known.without_context()):
                assert each.request_times is not None
                found = [times[time] for time in each.request_times.tolist()]
                assert found == list(zip(each.user_ids, part.targets.tolist(), strict=True))


def test_a_log_without_times_has_no_times_of_requests() -> None:
    sequences = sequences_of([("a", item, item) for item in range(6)])
    split = leave_one_out(replace(sequences, times=None))
    assert split.test.histories.request_times is None


def test_temporal_split_needs_times() -> None:
    bare = Sequences(["u"], np.array([0, 1]), np.array([0], np.int32), None, None)
    with pytest.raises(DataError, match="no times"):
        temporal_split(bare)


def test_sequences_views_and_filter() -> None:
    sequences = sequences_of([("a", 1, 1), ("b", 2, 5), ("a", 3, 0)])
    assert len(sequences) == 2
    assert sequences.lengths.tolist() == [2, 1]
    times = sequences.times_of(0)
    assert times is not None
    assert times.tolist() == [0, 1]
    assert sequences.actions_of(0) is None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "interactions.csv").write_text(
            "user_id,item_id,action\na,1,view\na,2,\nb,1,buy\nb,2,view\nb,2,buy\n"
        )
        (directory / "items.csv").write_text("item_id,title\n1,x\n2,y\n")
        interactions, _ = read(DataConfig(directory))
    assert interactions.actions == ["buy", "view"]
    only = Sequences.from_interactions(interactions, min_events=3)
    assert only.user_ids == ["b"]
    actions = only.actions_of(0)
    assert actions is not None
    assert actions.tolist() == [1, 2, 1]
    assert only.times_of(0) is None
    assert only.items.dtype == np.int32
    assert only.offsets.dtype == np.int64


many_events = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 12)),
    min_size=20,
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(many_events, st.sampled_from([0.2, 0.5]), st.integers(0, 3))
def test_cold_items_are_in_no_other_part(log: list[Event], share: float, seed: int) -> None:
    sequences = sequences_of(log)
    try:
        split = split_log(sequences, 6, method="leave-one-out", hold_out_items=share, seed=seed)
    except DataError:
        assume(False)
    cold = set(split.cold_items.tolist())
    assert len(cold) == max(1, round(share * len(set(sequences.items.tolist()))))
    assert cold <= set(sequences.items.tolist())
    for part in (split.train, split.validation.histories, split.test.histories):
        assert not cold & set(part.items.tolist())
    assert not cold & {*split.validation.targets.tolist(), *split.test.targets.tolist()}
    expected = {}
    for user, events in by_user(log).items():
        items = [item for item, _ in events]
        places = [place for place, item in enumerate(items) if item in cold and place]
        if places:
            expected[user] = (items[: places[-1]], items[places[-1]])
    found = targets(split.cold)
    assert {
        user: (history, found[user]) for user, history in histories(split.cold.histories).items()
    } == expected


def test_the_seed_decides_which_items_are_cold() -> None:
    log = [(user, item, item) for user in "abcd" for item in range(6)]

    def cold(seed: int) -> list[int]:
        sequences = sequences_of(log)
        split = split_log(sequences, 6, method="leave-one-out", hold_out_items=0.3, seed=seed)
        found: list[int] = split.cold_items.tolist()
        return found

    assert cold(0) == cold(0)
    assert len({tuple(cold(seed)) for seed in range(5)}) > 1


late_events = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(3, 5), st.integers(9, 12)), min_size=2, max_size=4
)


@settings(deadline=None, max_examples=20)
@given(many_events, late_events, st.sampled_from([0.2, 0.5]))
def test_late_items_are_all_that_come_first_in_the_last_part(
    many: list[Event], late: list[Event], share: float
) -> None:
    # Six items would come first in the first part nearly always.
    log = [(user, item % 3, time) for user, item, time in many] + late
    sequences = sequences_of(log)
    try:
        split = split_log(
            sequences, 6, method="leave-one-out", hold_out_items=share, hold_out="late"
        )
    except DataError:
        assume(False)
    times = sorted(time for _, _, time in log)
    # The last part begins where so many of the events lie before it.
    late_from = times[ceil((1 - share) * (len(times) - 1) - 1e-9)]
    first: dict[int, int] = {}
    for _, item, time in log:
        first[item] = min(time, first.get(item, time))
    cold = {item for item, time in first.items() if time >= late_from}
    assert set(split.cold_items.tolist()) == cold
    assert not cold & set(split.train.items.tolist())
    assert set(split.cold.targets.tolist()) <= cold


def test_late_items_need_times_and_a_time_before() -> None:
    log = [(user, item, item) for user in "abcd" for item in range(6)]
    together = sequences_of([(user, item, 0) for user, item, _ in log])
    for sequences, share, says in (
        (replace(sequences_of(log), times=None), 0.2, "name its time column"),
        (together, 0.2, "every item lies in the last 20%.*smaller hold_out_items"),
    ):
        with pytest.raises(DataError, match=says):
            split_log(sequences, 6, method="leave-one-out", hold_out_items=share, hold_out="late")


def test_without_cold_items_a_split_is_the_method_alone() -> None:
    sequences = sequences_of([(user, item, item) for user in "abcd" for item in range(6)])
    for method, split in (("leave-one-out", leave_one_out), ("temporal", temporal_split)):
        found = split_log(sequences, 6, method=method)
        assert contents(found) == contents(split(sequences))
        assert len(found.cold) == len(found.cold_items) == 0
    with pytest.raises(ConfigError, match="leave-one-out, temporal"):
        split_log(sequences, 6, method="random")


def test_nobody_has_met_a_cold_item_after_another() -> None:
    sequences = sequences_of(
        [(user, item, 0) for item, user in enumerate("abc")]
        + [("d", 3, 1), ("d", 3, 2), ("d", 3, 3)]
    )
    with pytest.raises(DataError, match="no user has an event on a held-out item"):
        split_log(
            sequences,
            6,
            method="leave-one-out",
            hold_out_items=0.1,
            seed=_seed_without(3, sequences),
        )


def _seed_without(item: int, sequences: Sequences) -> int:
    seen = np.unique(sequences.items)
    return next(
        s for s in range(20) if np.random.default_rng(s).choice(seen, 1, replace=False)[0] != item
    )


def test_users_of_two_events_are_dealt_out() -> None:
    log = [(f"u{user:02}", user % 5 + step, step) for user in range(20) for step in (0, 1)]
    split = leave_one_out(sequences_of([*log, ("single", 3, 0)]))
    assert targets(split.validation) == {"u00": 1, "u10": 1}
    assert histories(split.validation.histories) == {"u00": [0], "u10": [0]}
    assert targets(split.test) == {"u01": 2, "u11": 2}
    assert [len(items) for items in histories(split.train).values()] == [
        *[1, 1, 2, 2, 2, 2, 2, 2, 2, 2] * 2, 1,
    ]  # fmt: skip
