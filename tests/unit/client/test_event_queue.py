"""Events in the background."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator

import grpc
import pytest

import client as package
from client import (
    ClientClosed,
    ClientMisused,
    Event,
    EventQueue,
    InvalidInput,
    RecommenderClient,
    Retry,
    event_queue,
)
from client.testing import FakeServer
from tests.unit.client.test_faults import until

CODE = grpc.StatusCode


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "_PAUSES", (0.001, 0.01))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["a", "b", "c"]) as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> Iterator[RecommenderClient]:
    with RecommenderClient(server.address, timeout=60, retry=Retry(attempts=1)) as made:
        yield made


def told(server: FakeServer, tensor: str = "ITEM") -> list[list[str]]:
    return [each.inputs[tensor] for each in server.requests]


def test_events_are_sent_in_batches_and_in_order(
    server: FakeServer, client: RecommenderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "_BATCH", 10)
    with EventQueue(client) as events:
        for each in range(95):
            assert events.add(str(each))
    assert (events.sent, events.lost) == (95, 0)
    assert [item for batch in told(server) for item in batch] == [str(each) for each in range(95)]
    assert max(map(len, told(server))) == 10
    assert 10 <= len(server.requests) < 30


def test_they_are_sent_without_being_asked_for(
    server: FakeServer, client: RecommenderClient
) -> None:
    with EventQueue(client) as events:
        events.add(Event("a", "buy", 7, "mine"))
        until(lambda: events.sent == 1)
        (request,) = server.requests
        assert request.inputs == {
            "ITEM": ["a"], "TIME": [7], "EVENT_ID": ["mine"], "ACTION": ["buy"],
        }  # fmt: skip


def test_an_event_happens_when_it_is_added(server: FakeServer, client: RecommenderClient) -> None:
    with EventQueue(client) as events:
        events.add("a")
    (times,) = told(server, "TIME")
    assert abs(int(times[0]) - event_queue._now()) < 60


def test_while_a_server_fails_events_wait_and_count_once(
    server: FakeServer, client: RecommenderClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail(CODE.UNAVAILABLE, times=3)
    server.fail(CODE.INTERNAL, "Stub process is not healthy.", times=2)
    with caplog.at_level(logging.WARNING, package.__name__), EventQueue(client) as events:
        events.add("a")
        until(lambda: events.sent == 1)
    assert len(server.requests) == 6
    assert len({tuple(each) for each in told(server, "EVENT_ID")}) == 1
    (record,) = caplog.records
    assert "events wait" in record.message


def test_what_finds_no_room_is_lost(server: FakeServer, client: RecommenderClient) -> None:
    server.stop()
    events = EventQueue(client, most=5)
    try:
        kept = [events.add("a") for _ in range(50)]
        # Some are on their way.
        assert 5 <= sum(kept) <= 5 + 5 * 9
        assert events.lost == kept.count(False) > 0
    finally:
        events.close(timeout=0)
    assert events.lost == 50
    assert events.sent == 0


def test_an_event_that_is_refused_takes_no_other_along(
    server: FakeServer, client: RecommenderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = client.observe

    def strict(given: list[Event]) -> object:
        if any(each.item == "bad" for each in given):
            raise InvalidInput("bad")
        return observe(given)

    monkeypatch.setattr(client, "observe", strict)
    with EventQueue(client) as events:
        for each in ["a", "b", "bad", "c", "bad", "a", "b"]:
            events.add(each)
    assert (events.sent, events.lost) == (5, 2)
    assert [item for batch in told(server) for item in batch] == ["a", "b", "c", "a", "b"]


def test_what_is_no_event_is_said_at_once(client: RecommenderClient) -> None:
    with EventQueue(client) as events, pytest.raises(InvalidInput, match=r"events\[0\]"):
        events.add(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="most"):
        EventQueue(client, most=0)


def test_a_closed_queue_takes_nothing(client: RecommenderClient) -> None:
    events = EventQueue(client)
    events.close()
    events.close()
    with pytest.raises(ClientClosed, match="queue of events is closed"):
        events.add("a")


def test_closing_waits_no_longer_than_it_is_told(
    server: FakeServer, client: RecommenderClient
) -> None:
    server.fail(CODE.UNAVAILABLE, times=10**9)
    events = EventQueue(client)
    events.add("a")
    events.close(timeout=0.1)
    assert (events.sent, events.lost) == (0, 1)


def test_closing_gives_up_what_is_on_its_way(
    server: FakeServer, client: RecommenderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "_BATCH", 10)
    server.set_delay(60)
    events = EventQueue(client)
    for each in range(35):
        events.add(str(each))
    began = time.monotonic()
    events.close(timeout=0.2)
    assert time.monotonic() - began < 30  # the client waits for 60 s
    assert (events.sent, events.lost) == (0, 35)


def test_a_token_that_cannot_be_had_loses_no_event(server: FakeServer) -> None:
    failures = iter([OSError("no answer"), ValueError("no JSON")])

    def token() -> str:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return "secret"

    with RecommenderClient(server.address, timeout=60, token=token) as client:
        with EventQueue(client) as events:
            events.add("a")
        assert (events.sent, events.lost) == (1, 0)
    assert told(server) == [["a"]]


def test_a_queue_is_refused_after_a_fork(
    client: RecommenderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventQueue(client) as events:
        here = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: here + 1)
        with pytest.raises(ClientMisused, match="made before a fork"):
            events.add("a")
        events.close()
        monkeypatch.undo()
    assert (events.sent, events.lost) == (0, 0)


def test_a_client_that_is_closed_too_early_loses_them(server: FakeServer) -> None:
    client = RecommenderClient(server.address, timeout=60)
    with EventQueue(client) as events:
        client.close()
        events.add("a")
    assert (events.sent, events.lost) == (0, 1)
