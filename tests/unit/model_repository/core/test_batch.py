"""A failure stays with its request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from model_repository.core.batch import (
    Later,
    Outcome,
    Prompt,
    Request,
    Tensors,
    answer,
    attempt,
    attempt_together,
    read_and_answer,
)
from model_repository.core.errors import InvalidRequest, Overloaded, Unavailable


def reciprocals(numbers: Sequence[int]) -> list[float]:
    return [1 / number for number in numbers]


def test_a_failure_is_handed_on() -> None:
    assert attempt(lambda number: 1 / number, 2) == 0.5
    assert isinstance(attempt(lambda number: 1 / number, 0), ZeroDivisionError)


NO_MEMORY = [
    MemoryError(),
    RuntimeError("can't start new thread"),
    RuntimeError("std::bad_alloc"),
    # Of ONNX Runtime 1.32 and OpenVINO 2026.4.
    RuntimeError("BFCArena Failed to allocate memory for requested buffer of size 1600000000"),
    RuntimeError("Check 'ptr' failed:\nFailed to allocate 1600000000 bytes of memory"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_a_lack_of_memory_is_no_failure_of_a_request(error: Exception) -> None:
    def allocate(_: object) -> Sequence[float]:
        raise error

    with pytest.raises(type(error)):
        attempt(allocate, 1)
    with pytest.raises(type(error)):
        attempt_together(allocate, [1, 2])


@pytest.mark.parametrize("kind", [InvalidRequest, ValueError, KeyError, Overloaded, Unavailable])
def test_what_a_caller_wrote_is_no_lack_of_memory(kind: type[Exception]) -> None:
    def refuse(item: object) -> Sequence[float]:
        raise kind(f"CANDIDATE[0] {item!r} is not in the catalogue")

    assert isinstance(attempt(refuse, "bad_alloc"), kind)
    found = attempt_together(refuse, ["bad_alloc", "can't start new thread"])
    assert [type(each) for each in found] == [kind, kind]


@pytest.mark.parametrize("kind", [Overloaded, Unavailable])
def test_who_has_too_much_to_do_is_not_asked_again(kind: type[Exception]) -> None:
    calls = []

    def refuse(arguments: Sequence[int]) -> Sequence[float]:
        calls.append(arguments)
        raise kind("not now")

    assert len(attempt_together(refuse, [1, 2, 3])) == 3
    assert calls == [[1, 2, 3]]


def test_together_where_that_goes_and_else_one_by_one() -> None:
    calls: list[Sequence[int]] = []

    def counted(numbers: Sequence[int]) -> list[float]:
        calls.append(numbers)
        return reciprocals(numbers)

    assert attempt_together(counted, [1, 2]) == [1, 0.5]
    assert calls == [[1, 2]]
    first, failed, last = attempt_together(counted, [1, 0, 2])
    assert (first, last) == (1, 0.5)
    assert isinstance(failed, ZeroDivisionError)
    assert calls[1:] == [[1, 0, 2], [1], [0], [2]]
    calls.clear()
    (alone,) = attempt_together(counted, [0])  # not twice
    assert isinstance(alone, ZeroDivisionError)
    assert attempt_together(counted, []) == []
    assert calls == [[0]]


def test_only_what_was_found_in_order_is_answered_together() -> None:
    together: list[Sequence[int]] = []

    def answer_all(numbers: Sequence[int]) -> list[Tensors]:
        together.append(numbers)
        return [{"OUT": np.array([each])} for each in reciprocals(numbers)]

    requests = [Request({}, parameters) for parameters in ("2", "no number", "0", "4")]
    half, unread, failed, quarter = read_and_answer(
        lambda request: int(request.parameters), answer_all, requests
    )
    assert half == {"OUT": np.array([0.5])}
    assert isinstance(unread, ValueError)
    assert isinstance(failed, ZeroDivisionError)
    assert quarter == {"OUT": np.array([0.25])}
    assert together[0] == [2, 0, 4]
    assert read_and_answer(lambda _request: 1, answer_all, []) == []


def test_answers_that_come_later_find_their_place() -> None:
    class EvenLater:
        def __call__(self, requests: Sequence[Request]) -> list[Outcome | Later]:
            return [
                Later(each) if len(each.parameters) % 2 == 0 else ValueError(each.parameters)
                for each in requests
            ]

        def finish(self, waiting: Sequence[Later]) -> list[Outcome]:
            return [KeyError(each.request.parameters) for each in waiting]

        def close(self) -> None: ...

    found = answer(EvenLater(), [Request({}, "x" * length) for length in range(5)])
    assert [type(each) for each in found] == [KeyError, ValueError] * 2 + [KeyError]
    assert [len(str(each.args[0])) for each in found if isinstance(each, Exception)] == list(
        range(5)
    )


def test_a_handler_that_puts_nothing_off_is_not_asked_to_finish() -> None:
    assert Prompt().finish([]) == []
    with pytest.raises(AssertionError, match="Prompt puts nothing off"):
        Prompt().finish([Later(None)])
