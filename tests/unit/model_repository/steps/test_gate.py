"""A model that has too much to do refuses requests before it reads them, and marks its queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from tests.unit.model_repository.backend import Backend, IncomingRequest

CANCELLED = 3
ALREADY_EXISTS = 4
TENSORS = {"HISTORY": np.array([["a"]], np.object_)}


class Queue:
    """Holds the marks that a model sends itself, until they are let go; notes refusals."""

    def __init__(self) -> None:
        self.may_return = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.refused: list[Any] = []
        self.left: list[Any] = []

    def note(self, refused: list[Any], left: list[Any]) -> None:
        self.refused += refused
        self.left += left

    def __call__(self, inputs: Any) -> Any:
        assert inputs.keys() == TENSORS.keys()
        self.arrived.release()
        assert self.may_return.wait(10)
        return {"ITEM": np.zeros(1)}


@pytest.fixture
def queue(backend: Backend) -> Queue:
    made = Queue()
    backend.models["recommend"] = made
    return made


@pytest.fixture
def gate(queue: Queue) -> Iterator[Any]:
    module = import_module("model_repository.steps.gate")
    made = module.Gate("recommend", 7, "ITEM", 20, 1, queue.note)
    yield made
    queue.may_return.set()
    made.close()


def request(name: str | bytes = "", parameters: str | bytes = "") -> IncomingRequest:
    return IncomingRequest(TENSORS, ["ITEM"], parameters, name)


def test_a_mark_goes_through_triton_and_is_not_computed(
    gate: Any, queue: Queue, backend: Backend
) -> None:
    assert gate.refusals([request()]) == {}
    gate.mark(lambda: TENSORS)
    assert queue.arrived.acquire(timeout=10)
    ((model, version, _, outputs),) = backend.asked
    assert (model, version, outputs) == ("recommend", 7, ["ITEM"])
    (mark,) = backend.names
    assert mark
    assert list(gate.refusals([request(), request(mark), request("mine")])) == [1]
    queue.may_return.set()
    gate.close()
    assert gate.refusals([request(mark)]) == {}  # it has come back


def test_requests_that_cannot_be_read_are_no_marks(gate: Any, backend: Backend) -> None:
    def broken() -> Any:
        raise ValueError

    gate.mark(broken)
    gate.close()
    assert backend.asked == []


def test_who_is_refused_is_told_what_to_do(gate: Any, queue: Queue) -> None:
    gate.mark(lambda: TENSORS)
    assert queue.arrived.acquire(timeout=10)
    refused: dict[int, Any] = {}
    asked = [
        request(parameters=parameters)
        for parameters in ('{"background":true}', '{"background":false}', "", '{"top_k":1}')
    ]
    while not refused:  # until half of 20 ms is over
        refused = gate.refusals(asked)
    assert list(refused) == [0]
    assert queue.refused == asked[:1]
    error = refused[0].error()
    assert error.code() == ALREADY_EXISTS
    assert error.message() == (
        "recommend is overloaded: requests wait for more than 20 ms; wait before calling again, or "
        "give it more machines (export --max-wait is the limit)"
    )


def test_what_is_no_text_is_neither_a_mark_nor_background_work(gate: Any, queue: Queue) -> None:
    gate.mark(lambda: TENSORS)
    assert queue.arrived.acquire(timeout=10)
    asked = [
        request(name=b"\xff"),
        request(parameters=b'{"x":"\xff"}'),
        request(parameters='{"x":}'),
        request(parameters='{"background":true}'),
    ]
    refused: dict[int, Any] = {}
    while not refused:  # until half of 20 ms is over
        refused = gate.refusals(asked)
    assert list(refused) == [3]


def test_what_nobody_waits_for_any_more_is_not_worked_on(gate: Any, queue: Queue) -> None:
    gate.mark(lambda: TENSORS)
    assert queue.arrived.acquire(timeout=10)
    asked = [request() for _ in range(3)]
    for each in asked[:2]:
        each.sender.gone = True
    answers: dict[int, Any] = {}
    while not answers:  # until half of 20 ms is over
        answers = gate.refusals(asked)
    assert [answers[each].error().code() for each in (0, 1)] == [CANCELLED] * 2
    assert list(answers) == [0, 1]
    assert (queue.left, queue.refused) == (asked[:2], [])
