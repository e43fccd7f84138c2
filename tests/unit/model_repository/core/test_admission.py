"""Requests are refused by how long they have waited, which marks in the queue tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from model_repository.core.admission import AT_ONCE, Admission

LONGEST = 1.0
LARGEST = 2


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
    return Admission(LONGEST, LARGEST, clock)


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
    for pause in (0, 1.1):
        clock.now += pause * LONGEST
        mark = sent(admission, clock, 2 * LONGEST)
        assert admission.refused([mark], no_time, none) == [None]
        admission.back(mark)


@pytest.mark.parametrize(
    ("caller", "background", "limit"),
    [
        (None, False, LONGEST),
        (60.0, False, LONGEST),
        (0.5, False, 0.25),
        (0.001, False, 0.025),
        (None, True, LONGEST / 4),
        (60.0, True, LONGEST / 4),
        (0.3, True, 0.15),
        (0.001, True, 0.025),
    ],
)
def test_how_long_a_request_may_wait(
    admission: Admission, caller: float | None, background: bool, limit: float
) -> None:
    assert admission.limit_of(caller, background=background) == limit


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


@pytest.mark.parametrize(
    ("waits", "overloaded"),
    [
        ((0.6, 1.1), True),
        ((0.4, 1.1), False),  # others have waited for half of the limit for too short a time
        ((0.6, 0.9), False),  # nobody has waited for longer than the limit
        ((0.6, 0.4, 1.1), False),
    ],
)
def test_when_a_model_is_overloaded(
    admission: Admission, clock: Clock, waits: Sequence[float], *, overloaded: bool
) -> None:
    for wait in waits:
        mark = sent(admission, clock, wait * LONGEST)
        assert admission.refused([mark], no_time, none) == [None]
        admission.back(mark)
        clock.now += 1.1 * LONGEST / (len(waits) - 1)
    clock.now -= 0.5 * LONGEST
    sent(admission, clock, 0.2 * LONGEST)
    assert admission.refused([""] * LARGEST, no_time, none) == [overloaded] * LARGEST


def test_a_burst_of_an_hour_ago_is_forgotten(admission: Admission, clock: Clock) -> None:
    for wait in (0.6, 1.1):
        clock.now += 3600
        mark = sent(admission, clock, wait * LONGEST)
        assert admission.refused([mark], no_time, none) == [None]
        admission.back(mark)
    sent(admission, clock, 0.2 * LONGEST)
    assert admission.refused([""] * LARGEST, no_time, none) == [False] * LARGEST


def test_while_overloaded_what_has_waited_too_long_is_refused(
    admission: Admission, clock: Clock
) -> None:
    overload(admission, clock)
    marks = [sent(admission, clock, share * LONGEST) for share in (1.1, 0.11, 0.09)]
    # What stands before a mark is older than the mark; nothing is known of what stands behind all.
    assert admission.refused(["", marks[0], "", marks[1], "", marks[2], ""], no_time, none) == [
        *(True, None),
        *(True, None),
        *(False, None),
        False,
    ]


@pytest.mark.parametrize(("pause", "over"), [(0.9, False), (1.1, True)])
def test_it_is_over_once_nothing_was_refused_for_as_long_as_the_limit(
    admission: Admission, clock: Clock, pause: float, *, over: bool
) -> None:
    overload(admission, clock)
    for share, refused in ((0.2, True), (0.09, False)):
        mark = sent(admission, clock, share * LONGEST)
        assert admission.refused(["", mark], no_time, none) == [refused, None]
        admission.back(mark)
    clock.now += pause * LONGEST
    sent(admission, clock, 0.2 * LONGEST)
    assert admission.refused(["", ""], no_time, none) == [not over] * 2


def test_a_burst_after_it_is_a_burst(admission: Admission, clock: Clock) -> None:
    overload(admission, clock)
    clock.now += 1.1 * LONGEST
    for pause in (0, 0.9):
        clock.now += pause * LONGEST
        mark = sent(admission, clock, 2 * LONGEST)
        assert admission.refused(["", mark], no_time, none) == [False, None]
        admission.back(mark)


@pytest.mark.parametrize(("time", "refused"), [(0.7, True), (1.7, False), (None, False)])
def test_who_waits_for_a_short_time_is_refused_earlier(
    admission: Admission, clock: Clock, time: float | None, *, refused: bool
) -> None:
    mark = sent(admission, clock, 0.05 * LONGEST)

    def time_of(_place: int) -> float | None:
        return None if time is None else time * LONGEST

    assert admission.refused(["", mark], time_of, none) == [False, None]
    admission = Admission(LONGEST, LARGEST, clock)
    overload(admission, clock)
    mark = sent(admission, clock, 0.05 * LONGEST)
    assert admission.refused(["", mark, ""], time_of, none) == [refused, None, False]


def test_what_stands_before_a_mark_of_a_later_batch_is_older_too(
    admission: Admission, clock: Clock
) -> None:
    overload(admission, clock)
    sent(admission, clock, 0.09 * LONGEST)
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

    found = [admission.refused(["", ""], time_of, background) for _ in range(64)]
    assert found == [[not (answered and number % 32 == 31)] * 2 for number in range(64)]


def test_the_ids_of_callers_are_not_taken_for_marks(admission: Admission) -> None:
    admission.mark()
    assert admission.refused(["0", "7b-0", ""], no_time, none) == [False] * 3


@pytest.mark.parametrize(
    ("overloaded", "background", "waits", "refused"),
    [
        (False, every, 0.2, False),
        (False, every, 0.3, True),
        (False, none, 0.3, False),
        (False, none, 5, False),
        (True, every, 0.04, False),
        (True, every, 0.06, True),
        (True, none, 0.06, False),
    ],
)
def test_background_work_makes_room_first(
    admission: Admission,
    clock: Clock,
    background: Callable[[int], bool],
    waits: float,
    *,
    overloaded: bool,
    refused: bool,
) -> None:
    if overloaded:
        overload(admission, clock)
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
    marks = [sent(admission, clock, share * LONGEST) for share in (1.5, 0.11, 0.09)]
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


@pytest.mark.parametrize(
    ("seconds", "background", "expected"),
    [
        (None, none, [True, False]),
        (1.3, none, [True, False]),
        (1.2, none, [True, True]),
        (None, lambda place: place == 1, [False, True]),
        (None, every, [True, True]),
    ],
)
def test_of_a_batch_that_is_not_full_the_youngest_is_answered(
    clock: Clock,
    seconds: float | None,
    background: Callable[[int], bool],
    expected: list[bool],
) -> None:
    """Nobody waits behind it: who comes after a storm is let in."""
    admission = Admission(LONGEST, 3, clock)
    overload(admission, clock)
    sent(admission, clock, 1.1 * LONGEST)
    assert admission.refused(["", ""], lambda _: seconds, background) == expected


def test_no_more_of_a_batch_is_answered_than_its_callers_can_wait_for(clock: Clock) -> None:
    admission = Admission(LONGEST, 100, clock)
    waiting = [""] * 100

    def refused() -> int:
        verdicts = admission.refused(waiting, no_time, none)
        count = verdicts.count(True)
        # Who has waited longest is refused.
        assert verdicts == [place < count for place in range(100)]
        return count

    admission.took(100, 0.28 * LONGEST)
    mark = admission.mark()
    assert refused() == 0  # it is not overloaded
    admission.back(mark)
    overload(admission, clock)
    admission.mark()
    assert refused() == 75
    admission.took(25, 0.07 * LONGEST)
    assert refused() == 68
    admission.took(10, 0.07 * LONGEST)  # says nothing of more
    assert refused() == 68
    for _ in range(9):
        admission.took(100, 0.06 * LONGEST)
    assert refused() == 0


def test_it_is_overloaded_as_long_as_batches_are_too_large(clock: Clock) -> None:
    """Else the queue grows to its full length again, once in a while."""
    admission = Admission(LONGEST, 100, clock)
    overload(admission, clock)
    admission.took(100, 0.28 * LONGEST)
    for _ in range(3):
        clock.now += 0.9 * LONGEST
        mark = admission.mark()  # no request has waited
        assert admission.refused([""] * 100, no_time, none).count(True) == 75
        admission.back(mark)


def test_background_work_gets_what_others_leave(clock: Clock) -> None:
    """Its share is halved when others had to be refused, and grows again with the time."""
    admission = Admission(LONGEST, 100, clock)
    overload(admission, clock)
    shares = []
    for wait, pause in ((0.0, 0.0), (0.2, 0.0), (0.2, 0.2), (0.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        clock.now += pause * LONGEST
        mark = sent(admission, clock, wait * LONGEST)
        ids = ["", mark, *[""] * 96]
        found = admission.refused(ids, no_time, lambda place: place > 1)
        admission.back(mark)
        shares.append(found[2:].count(False))
    assert shares == [96, 96, 48, 24, 24, 33]


@pytest.mark.parametrize(
    ("users", "pause", "expected"),
    [
        (True, 0.9, [False, True, True]),
        (True, 1.1, [False, False, False]),  # nothing was refused for as long as the limit
        (False, 0.9, [False, False, False]),  # it was in nobody's way
    ],
)
def test_background_work_gives_way_once_it_was_refused_beside_users(
    clock: Clock, pause: float, expected: list[bool], *, users: bool
) -> None:
    admission = Admission(LONGEST, 100, clock)
    mark = sent(admission, clock, 0.3 * LONGEST)
    assert admission.refused(["", "", mark], no_time, lambda place: not users or place > 0) == [
        not users,
        *(True, None),
    ]
    admission.back(mark)
    clock.now += pause * LONGEST
    sent(admission, clock, 0.06 * LONGEST)
    assert admission.refused([""] * 3, no_time, lambda place: place > 0) == expected


def test_of_too_large_a_batch_background_work_is_refused_first(clock: Clock) -> None:
    admission = Admission(LONGEST, 4, clock)
    mark = sent(admission, clock, 0.3 * LONGEST)
    admission.refused(["", "", mark], no_time, lambda place: place == 1)
    admission.back(mark)
    admission.took(4, 0.14 * LONGEST)
    mark = admission.mark()
    batch = [""] * 4
    # Users are refused only while the model is overloaded.
    assert admission.refused(batch, no_time, none) == [False] * 4
    assert admission.refused(batch, no_time, lambda place: place > 0) == [False, True, True, False]
    admission.back(mark)
    overload(admission, clock)
    admission.mark()
    assert admission.refused(batch, no_time, none) == [True, True, False, False]
    assert admission.refused(batch, no_time, lambda place: place == 3) == [True, False, False, True]
