from __future__ import annotations

import pytest

from builder.play import history
from builder.play.history import Entry, FormError, to_json
from client import Event, Item

THREE = (Entry("a", None, "liked", 10), Entry("b", None, None, 20), Entry("c", "text", None, 30))


def test_what_travels_is_what_was() -> None:
    assert history.read(to_json(THREE), {}) == THREE
    assert history.read("", {}) == ()


def test_fields_that_are_shown_stand_above_what_travels() -> None:
    read = history.read(
        to_json(THREE),
        {"action-0": "", "action-1": "seen", "time-1": "1970-01-01 00:01:00", "time-2": " "},
    )
    assert read == (
        Entry("a", None, None, 10),
        Entry("b", None, "seen", 60),
        Entry("c", "text", None, None),
    )


def test_a_moment_is_read_as_it_is_shown() -> None:
    assert THREE[1].moment == "1970-01-01 00:00:20"
    assert history.read(to_json(THREE), {"time-1": THREE[1].moment}) == THREE


@pytest.mark.parametrize("zone", ["+05:00", "Z", ""])
def test_a_time_may_name_its_zone(zone: str) -> None:
    (read,) = history.read(to_json(THREE[:1]), {"time-0": f" 1970-01-01T06:00:00{zone}"})
    assert read.time == 3_600 * (1 if zone == "+05:00" else 6)


def test_a_time_that_no_calendar_has_stays_unless_it_is_changed() -> None:
    far = (Entry("a", time=10**15),)
    assert far[0].moment == ""
    assert history.read(to_json(far), {"time-0": ""}) == far


def test_a_time_that_cannot_be_read_is_refused_with_a_pattern() -> None:
    with pytest.raises(FormError, match="'yesterday' cannot be read; write 1998"):
        history.read(to_json(THREE), {"time-0": "yesterday"})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "3",
        "[3]",
        '["abcd"]',
        '[["a"]]',
        '[[1, null, null, null]]',
        '[["a", 1, null, null]]',
        '[["a", null, null, "1"]]',
        '[["a", null, null, true]]',
        f'[["a", null, null, {2**63}]]',
        r'[["\ud800", null, null, null]]',
        r'[["a", "\ud800", null, null]]',
        r'[["a", null, "\ud800", null]]',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_what_this_page_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(FormError, match="reload the page"):
        history.read(text, {})


def test_an_event_is_added_a_minute_later_where_events_have_times() -> None:
    assert history.added(THREE, Entry("d"))[-1] == Entry("d", time=90)
    assert history.added((Entry("a"),), Entry("d"))[-1] == Entry("d")
    assert history.added((), Entry("d")) == (Entry("d"),)


def test_an_event_is_removed() -> None:
    assert history.removed(THREE, 1) == (THREE[0], THREE[2])


def test_events_change_places_and_their_times_do_not() -> None:
    later = history.moved(THREE, 0, 1)
    assert [each.item for each in later] == ["b", "a", "c"]
    assert [each.time for each in later] == [10, 20, 30]
    assert later[1].action == "liked"
    assert history.moved(later, 1, -1) == THREE


@pytest.mark.parametrize(("number", "by"), [(2, 1), (0, -1), (7, 1)])
def test_the_ends_do_not_move(number: int, by: int) -> None:
    assert history.moved(THREE, number, by) == THREE


def test_an_entry_is_an_event_of_the_client() -> None:
    assert THREE[2].event() == Event(Item("c", "text"), None, 30)
