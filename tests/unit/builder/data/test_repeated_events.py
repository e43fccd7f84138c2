"""Events that a log has several times are told, as are tests that ask for a seen item."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.data import DataConfig, Sequences, leave_one_out, read, repeated_events
from builder.data.repeated_events import last_targets_seen_before, repeats
from builder.data.unsorted import UnsortedEvents

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,Ape\n2,Zebra\n3,Yak\n"
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-2, 3), st.booleans()), min_size=1
)


def events_of(rows: list[tuple[int, int, int, bool]], *, timed: bool) -> UnsortedEvents:
    user, item, ticks, target = (np.array(column) for column in zip(*rows, strict=True))
    return UnsortedEvents(
        list("abcd"), user.astype(np.int32), item.astype(np.int32), ticks if timed else None, 1,
        target.astype(np.int32), ["view"], target,
    )  # fmt: skip


@given(ROWS, st.booleans(), st.integers(1, 5))
def test_counts_are_those_of_a_plain_loop(
    rows: list[tuple[int, int, int, bool]],
    timed: bool,
    at_once: int,
) -> None:
    events = events_of(rows, timed=timed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeated_events, "_EVENTS_AT_ONCE", at_once)
        found, seen = repeats(events), last_targets_seen_before(events)
    assert found == (sum(count - 1 for count in Counter(rows).values()) if timed else 0)
    for user in range(4):
        own = [row for row in rows if row[0] == user]
        if timed:
            own.sort(key=lambda row: row[2])
        last = max((place for place, row in enumerate(own) if row[3]), default=None)
        before = [] if last is None else [row[1] for row in own[:last]]
        assert seen[user] == (last is not None and own[last][1] in before)


def test_rows_that_a_log_has_several_times_are_warned_of(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"u{user},{item},17000{item}0000" for user in range(2) for item in (1, 2, 3)]
    directory = write(items__csv=ITEMS)
    with caplog.at_level(logging.WARNING):
        for log, warned in ((rows, []), ([*rows, *rows[:3]], ["3 of the 9 events repeat another"])):
            caplog.clear()
            text = "\n".join(["user_id,item_id,timestamp", *log])
            (directory / "interactions.csv").write_text(text)
            interactions, _ = read(DataConfig(directory))
            assert len(interactions) == len(log)
            assert len(caplog.messages) == len(warned)
            assert all(text in caplog.text for text in warned)
    test = leave_one_out(Sequences.from_interactions(interactions)).test
    assert (len(test), test.seen_before) == (2, 1)


@pytest.mark.parametrize("time", ["1700000000", "0", "2023-11-14"])
def test_a_log_of_one_time_has_no_order(
    write: Write, caplog: pytest.LogCaptureFixture, time: str
) -> None:
    log = "user_id,item_id,timestamp\n" + "".join(f"u,{item},{time}\n" for item in (1, 2, 3))
    directory = write(items__csv=ITEMS, interactions__csv=log)
    with caplog.at_level(logging.WARNING):
        read(DataConfig(directory))
        assert "timestamp: all 3 events have the same time, so the log has no order" in caplog.text
