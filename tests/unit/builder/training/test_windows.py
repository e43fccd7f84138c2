from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builder.data.request_time import Clock
from builder.training.objective import NO_TARGET
from builder.training.windows import Windows, collate
from tests.unit.builder.model.tiny import sequences

histories = st.lists(st.lists(st.integers(0, 9), max_size=20), min_size=1, max_size=5).filter(any)


@given(histories, st.integers(1, 7), st.integers(1, 4))
def test_each_event_is_a_target_once_after_the_events_before_it(
    users: list[list[int]], max_history: int, batch_size: int
) -> None:
    windows = Windows(sequences(*users), max_history)
    found = []
    for start in range(0, len(windows), batch_size):
        chosen = [windows[index] for index in range(start, min(start + batch_size, len(windows)))]
        batch = collate(chosen)
        assert batch["items"].shape[1] == max(len(window.gaps) for window in chosen)
        assert batch["items"].shape[1] <= max_history
        for items, targets in zip(batch["items"].tolist(), batch["targets"].tolist(), strict=True):
            assert len(targets) == len(items) + 1
            found += [
                (tuple(items[:place]), target)
                for place, target in enumerate(targets)
                if target != NO_TARGET
            ]
    # From the end of each history, in steps of max_history, as far back as a window reaches.
    expected = []
    for items in users:
        for place, target in enumerate(items):
            back = (len(items) - 1 - place) // max_history
            start = max(0, len(items) - 1 - (back + 1) * max_history)
            expected.append((tuple(items[start:place]), target))
    assert sorted(found) == sorted(expected)


def test_windows_by_hand() -> None:
    train = sequences([5, 6, 7, 8], times=[[100, 101, 200, 201]], actions=[[1, 2, 1, 2]])
    first, second = sorted((Windows(train, 2)[0], Windows(train, 2)[1]), key=lambda w: w.opening)
    assert first.items.tolist() == [6, 7, 8]
    assert first.actions.tolist() == [2, 1]
    assert first.gaps[0] == 0  # in serving, too, the first event that is left has none before it
    assert first.gaps[1] > 0
    assert (second.items.tolist(), second.opening) == ([5, 6], True)
    batch = collate([first, second])
    assert batch["items"].tolist() == [[6, 7], [5, 0]]
    assert batch["targets"].tolist() == [[NO_TARGET, 7, 8], [5, 6, NO_TARGET]]
    assert batch["actions"].tolist() == [[2, 1], [1, 0]]


@pytest.mark.parametrize("times", [None, [[100]]])
def test_one_event_teaches_what_a_new_user_starts_with(times: list[list[int]] | None) -> None:
    batch = collate([Windows(sequences([4], times=times), 3)[0]])
    assert batch["items"].shape == (1, 0)
    assert batch["targets"].tolist() == [[4]]


def test_every_window_has_the_profile_of_its_user() -> None:
    profiles = np.array([[1, 2], [3, 4]], np.int32)
    train = replace(sequences([0, 1, 2, 3, 4], [5, 6]), profiles=profiles)
    windows = Windows(train, 2)
    batch = collate([windows[place] for place in range(len(windows))])
    assert batch["profiles"].dtype == torch.int64
    first = [0, 1, 2, 3, 4]
    for items, profile in zip(batch["items"].tolist(), batch["profiles"].tolist(), strict=True):
        assert profile == ([1, 2] if items[0] in first else [3, 4])
    assert "profiles" not in collate([Windows(sequences([0, 1]), 2)[0]])


def test_every_target_has_the_time_of_its_request() -> None:
    hours = [[3, 4, 5, 6, 7], [8, 9]]
    times = [[3600 * hour for hour in row] for row in hours]
    profiles = np.array([[1, 0], [2, 0]], np.int32)
    train = replace(sequences([3, 4, 5, 6, 7], [8, 9], times=times), profiles=profiles)
    windows = Windows(train, 2, Clock(("hour",)))
    batch = collate([windows[place] for place in range(len(windows))])
    assert batch["profiles"].shape == (*batch["targets"].shape, 2)
    asked = batch["targets"] != NO_TARGET
    targets, known = batch["targets"][asked], batch["profiles"][asked]
    assert known[:, 1].tolist() == (1 + targets).tolist()  # items are called as their hours
    assert known[:, 0].tolist() == [1 if target < 8 else 2 for target in targets.tolist()]
    assert len(targets) == 7
