"""Requests are refused by how long they have waited, which marks in the queue tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from model_repository.core.admission import AT_ONCE, Admission

LONGEST = 0.1


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(LONGEST, clock)


def none(_place: int) -> bool:
    return False


def no_time(_place: int) -> None:
    return None


def every(_place: int) -> bool:
    return True


def sent(admission: Admission, clock: Clock, ago: float) -> str:
    clock.now -= ago
    mark = admission.mark()
    clock.now += ago
    return mark


def overload(admission: Admission, clock: Clock) -> None:
    """Requests wait for too long, and have for some time."""
    for _ in range(3):
        mark = sent(admission, clock, 2 * LONGEST)
        assert admission.refused([mark], no_time, none) == [None]
        admission.back(mark)
        clock.now += 1.1 * LONGEST


def test_a_mark_is_due_once_in_a_while(admission: Admission, clock: Clock) -> None:
    assert not admission.marked
    assert [admission.due(), admission.due()] == [True, False]
    mark = admission.mark()
    assert admission.marked
    admission.back(mark)
    assert not admission.marked
    clock.now += 0.9 * LONGEST
    assert not admission.due()
    clock.now += 0.2 * LONGEST
    assert admission.due()


def test_marks_are_due_more_often_while_requests_wait(admission: Admission, clock: Clock) -> None:
    assert admission.due()
    mark = admission.mark()
    clock.now += LONGEST / 2
    assert admission.refused([mark], no_time, none) == [None]
    clock.now += 0.3 * LONGEST
    assert admission.due()


def test_there_is_an_end_to_them(admission: Admission, clock: Clock) -> None:
    marks = [admission.mark() for _ in range(AT_ONCE)]
    clock.now += 10
    assert not admission.due()
    admission.back(marks[0])
    assert admission.due()
    assert len(set(marks)) == AT_ONCE


def test_a_pause_of_the_machine_has_nothing_refused(admission: Admission, clock: Clock) -> None:
    mark = sent(admission, clock, 20 * LONGEST)
    assert admission.refused(["", mark, ""], no_time, none) == [False, None, False]


def test_while_overloaded_what_has_waited_too_long_is_refused(
    admission: Admission, clock: Clock
) -> None:
    overload(admission, clock)
    old, young = sent(admission, clock, 1.1 * LONGEST), sent(admission, clock, 0.9 * LONGEST)
    # What stands before a mark is older than the mark; nothing is known of what stands behind all.
    assert admission.refused(["", old, "", young, ""], no_time, none) == [
        True,
        None,
        False,
        None,
        False,
    ]


@pytest.mark.parametrize(("time", "refused"), [(1.3, True), (1.5, False), (None, False)])
def test_who_waits_for_a_short_time_is_refused_when_half_of_it_is_over(
    admission: Admission, clock: Clock, time: float | None, *, refused: bool
) -> None:
    mark = sent(admission, clock, 0.7 * LONGEST)

    def time_of(_place: int) -> float | None:
        return None if time is None else time * LONGEST

    assert admission.refused(["", mark], time_of, none) == [False, None]
    overload(admission, clock)
    admission.back(mark)
    mark = sent(admission, clock, 0.7 * LONGEST)
    assert admission.refused(["", mark, ""], time_of, none) == [refused, None, False]


def test_what_stands_before_a_mark_of_a_later_batch_is_older_too(
    admission: Admission, clock: Clock
) -> None:
    overload(admission, clock)
    sent(admission, clock, 0.5 * LONGEST)
    assert admission.refused(["", ""], no_time, none) == [False, False]
    sent(admission, clock, 1.1 * LONGEST)
    assert admission.refused(["", ""], no_time, none) == [True, False]


@pytest.mark.parametrize(
    ("batch", "times", "background", "refused"),
    [
        (3, None, none, [True, True, False]),
        (9, None, none, [True] * 7 + [False] * 2),
        # Their callers are gone, or wait for nothing.
        (3, 1.0, none, [True, True, True]),
        (3, None, every, [True, True, True]),
    ],
)
def test_the_youngest_of_a_batch_are_answered(
    admission: Admission,
    clock: Clock,
    batch: int,
    times: float | None,
    background: Callable[[int], bool],
    refused: list[bool],
) -> None:
    overload(admission, clock)
    sent(admission, clock, 1.1 * LONGEST)

    def time_of(_place: int) -> float | None:
        return None if times is None else times * LONGEST

    assert admission.refused([""] * batch, time_of, background) == refused


def test_the_ids_of_callers_are_not_taken_for_marks(admission: Admission) -> None:
    admission.mark()
    assert admission.refused(["0", "7b-0", ""], no_time, none) == [False] * 3


@pytest.mark.parametrize(("waits", "over"), [(0.4, True), (0.6, False)])
def test_it_is_over_when_requests_wait_for_less_than_half(
    admission: Admission, clock: Clock, waits: float, *, over: bool
) -> None:
    overload(admission, clock)
    mark = sent(admission, clock, waits * LONGEST)
    assert admission.refused([mark], no_time, none) == [None]
    admission.back(mark)
    sent(admission, clock, 1.1 * LONGEST)
    assert admission.refused(["", ""], no_time, none) == [not over, False]


@pytest.mark.parametrize(
    ("background", "waits", "refused"),
    [(every, 0.4, False), (every, 0.6, True), (none, 0.6, False), (none, 5, False)],
)
def test_background_work_makes_room_first(
    admission: Admission,
    clock: Clock,
    background: Callable[[int], bool],
    waits: float,
    *,
    refused: bool,
) -> None:
    mark = sent(admission, clock, waits * LONGEST)
    assert admission.refused(["", mark], no_time, background) == [refused, None]


@pytest.mark.parametrize(
    ("waited", "seconds", "here", "asked", "refused"),
    [
        (0.4 * LONGEST, None, 0, [], 0),
        (0.6 * LONGEST, None, 0, [0], 0),
        (0.6 * LONGEST, None, 2, [0, 1, 2], 2),
        (0.6 * LONGEST, None, 9, [0, 1, 2, 3], 4),
        (0.2 * LONGEST, 0.3 * LONGEST, 1, [0, 1], 1),
        (0.2 * LONGEST, 0.5 * LONGEST, 1, [], 0),
    ],
)
def test_who_has_left_is_asked_from_the_oldest_on(
    admission: Admission, clock: Clock, waited: float, seconds: float | None, here: int,
    asked: list[int], refused: int,
) -> None:  # fmt: skip
    """Until one is ``here``, and none of those that have not waited for long."""
    sent(admission, clock, waited)
    found: list[int] = []

    def left(place: int) -> bool:
        found.append(place)
        return place < here

    verdicts = admission.refused([""] * 4, lambda _: seconds, none, left)
    assert found == asked
    assert verdicts == [place < refused for place in range(4)]


def test_who_is_refused_is_not_asked(admission: Admission, clock: Clock) -> None:
    overload(admission, clock)
    sent(admission, clock, 1.5 * LONGEST)
    found: list[int] = []

    def left(place: int) -> bool:
        found.append(place)
        return False

    verdicts = admission.refused([""] * 9, no_time, none, left)
    assert verdicts == [True] * 7 + [False] * 2
    assert found == [7]
