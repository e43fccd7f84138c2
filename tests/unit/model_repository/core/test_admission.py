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
    marks = [sent(admission, clock, share * LONGEST) for share in (1.1, 0.6, 0.4)]
    # What stands before a mark is older than the mark; nothing is known of what stands behind all.
    assert admission.refused(["", marks[0], "", marks[1], "", marks[2], ""], no_time, none) == [
        *(True, None),
        *(True, None),
        *(False, None),
        False,
    ]


def test_whole_batches_are_refused_and_then_whole_batches_answered(
    admission: Admission, clock: Clock
) -> None:
    overload(admission, clock)
    for share, refused in ((0.9, True), (0.6, True), (0.4, False), (0.9, False), (1.1, False)):
        mark = sent(admission, clock, share * LONGEST)
        assert admission.refused(["", "", mark], no_time, none) == [refused, refused, None]
        admission.back(mark)


@pytest.mark.parametrize(("time", "refused"), [(0.7, True), (1.7, False), (None, False)])
def test_who_waits_for_a_short_time_is_refused_earlier(
    admission: Admission, clock: Clock, time: float | None, *, refused: bool
) -> None:
    mark = sent(admission, clock, 0.4 * LONGEST)

    def time_of(_place: int) -> float | None:
        return None if time is None else time * LONGEST

    assert admission.refused(["", mark], time_of, none) == [False, None]
    overload(admission, clock)
    admission.back(mark)
    mark = sent(admission, clock, 0.4 * LONGEST)
    assert admission.refused(["", mark, ""], time_of, none) == [refused, None, False]


def test_what_stands_before_a_mark_of_a_later_batch_is_older_too(
    admission: Admission, clock: Clock
) -> None:
    overload(admission, clock)
    sent(admission, clock, 0.4 * LONGEST)
    assert admission.refused(["", ""], no_time, none) == [False, False]
    sent(admission, clock, 1.1 * LONGEST)
    assert admission.refused(["", ""], no_time, none) == [True, True]


@pytest.mark.parametrize(
    ("seconds", "background", "answered"),
    [
        (None, none, True),
        (1.3, none, True),
        # Their callers are gone before they have an answer, or wait for nothing.
        (1.2, none, False),
        (None, every, False),
    ],
)
def test_one_of_many_refused_batches_is_answered(
    admission: Admission,
    clock: Clock,
    seconds: float | None,
    background: Callable[[int], bool],
    *,
    answered: bool,
) -> None:
    overload(admission, clock)
    sent(admission, clock, 1.1 * LONGEST)

    def time_of(_place: int) -> float | None:
        return None if seconds is None else seconds * LONGEST

    found = [admission.refused(["", ""], time_of, background) for _ in range(16)]
    assert found == [[not (answered and number % 8 == 7)] * 2 for number in range(16)]


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
    assert admission.refused(["", ""], no_time, none) == [not over] * 2


@pytest.mark.parametrize(
    ("background", "waits", "refused"),
    [(every, 0.2, False), (every, 0.3, True), (none, 0.3, False), (none, 5, False)],
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
    marks = [sent(admission, clock, share * LONGEST) for share in (1.5, 0.51, 0.4)]
    found: list[int] = []

    def left(place: int) -> bool:
        found.append(place)
        return False

    ids = ["", marks[0], "", marks[1], "", marks[2]]
    longer = [None, None, None, None, 5 * LONGEST, None]
    verdicts = admission.refused(ids, lambda place: longer[place], none, left)
    assert verdicts == [True, None, True, None, False, None]
    assert found == []


def test_who_is_told_to_wait_is_asked(admission: Admission, clock: Clock) -> None:
    mark = sent(admission, clock, 0.6 * LONGEST)
    found: list[int] = []

    def left(place: int) -> bool:
        found.append(place)
        return False

    assert admission.refused(["", mark], no_time, none, left) == [False, None]
    assert found == [0]


def test_callers_of_short_times_are_protected_too(admission: Admission, clock: Clock) -> None:
    """Though requests never wait for the longest time."""
    for _ in range(4):
        sent(admission, clock, 0.4 * LONGEST)
        found = admission.refused([""], lambda _: 0.6 * LONGEST, none)
        clock.now += 0.3 * LONGEST
    assert found == [True]
