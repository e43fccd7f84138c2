"""What a request to ``observe`` tells of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from model_repository.core.batch import Request
from model_repository.core.errors import InvalidRequest
from model_repository.core.events import Event, EventIds, read_events
from tests.unit.model_repository.conftest import strings

NOW = 1_700_000_000


def request(
    items: Sequence[str], times: Sequence[int] | None = None, **columns: Sequence[str]
) -> Request:
    tensors: dict[str, Any] = {"ITEM": strings(items)}
    if times is not None:
        tensors["TIME"] = np.array([times], np.int64)
    tensors |= {name.upper(): strings(values) for name, values in columns.items()}
    return Request(tensors)


def test_an_event_is_an_item_a_time_an_action_and_an_id() -> None:
    asked = request(["a", "b"], [NOW - 5, 0], action=["buy", ""], event_id=["", "7"])
    assert read_events(asked, NOW) == [
        Event(b"a", NOW - 5, b"buy", b""),
        Event(b"b", NOW, b"", b"7"),
    ]


def test_an_item_alone_happens_now() -> None:
    assert read_events(request(["a"]), NOW) == [Event(b"a", NOW)]
    assert read_events(request([]), NOW) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request(["a"], [-1]), r"TIME\[0\] is -1, .*1970"),
        (request(["a", "b"], [0, NOW + 301]), r"TIME\[1\] is \d+, 301 seconds ahead"),
        (request(["a"], [NOW * 1000]), r"TIME\[0\] is \d+, .*divide by 1000 .*milliseconds"),
        (request(["a"], [1, 2]), r"TIME has 2 values and ITEM has 1"),
        (request(["a"], action=[]), r"ACTION has 0 values and ITEM has 1"),
        (request(["a"], event_id=["1", "2"]), r"EVENT_ID has 2 values"),
        (request(["a", "b" * 1025]), r"ITEM\[1\] has 1025 bytes, and at most 1024"),
        (request(["a"], event_id=["b" * 1025]), r"EVENT_ID\[0\] has 1025 bytes"),
        (Request({"ITEM": np.zeros((1, 1), np.float32)}), "ITEM must be BYTES"),
        (Request({}), "ITEM is missing"),
        (Request({"ITEM": strings(["a"])}, '{"top_m": 3}'), "no option 'top_m'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(asked: Request, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read_events(asked, NOW)


def test_five_minutes_ahead_are_allowed() -> None:
    assert read_events(request(["a"], [NOW + 300]), NOW)[0].time == NOW + 300


def test_an_id_is_new_once() -> None:
    ids = EventIds()
    one, other = Event(b"a", 1, id=b"1"), Event(b"a", 1, id=b"2")
    assert ids.fresh([one, other, one]) == [one, other]
    assert ids.fresh([other, one]) == []


def test_events_without_an_id_are_never_repeated() -> None:
    event = Event(b"a", 1)
    assert EventIds().fresh([event, event]) == [event, event]


def test_the_latest_ids_are_remembered_and_no_more() -> None:
    ids = EventIds(most=3)
    events = [Event(b"a", 1, id=b"%d" % number) for number in range(5)]
    ids.fresh(events)
    assert ids.fresh(events[2:]) == []
    assert ids.fresh(events[:2]) == events[:2]
