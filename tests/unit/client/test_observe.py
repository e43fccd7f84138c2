"""Events as they happen: what is sent, to whom, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import grpc
import numpy as np
import pytest

from client import (
    Event,
    InvalidInput,
    Item,
    MalformedResponse,
    ModelNotFound,
    Observed,
    PermissionDenied,
    RecommenderClient,
    Retry,
    Unavailable,
)
from client.testing import FakeServer
from model_repository.core import contract
from tests.unit.client.conftest import Triton, respond
from tests.unit.client.test_faults import until

NOW = 1_700_000_000
CODE = grpc.StatusCode
EAGER = Retry(attempts=3, initial_backoff=0.001)


def numbers(accepted: int, unknown: int = 0, repeated: int = 0) -> Any:
    named = {"ACCEPTED": accepted, "UNKNOWN": unknown, "REPEATED": repeated}
    return respond(**{name: np.array([[each]], np.int32) for name, each in named.items()})


def test_what_is_sent(triton: Triton, client: RecommenderClient) -> None:
    triton.answer = lambda _: numbers(3, 2, 1)
    when = datetime.fromtimestamp(NOW + 1, timezone.utc)
    found = client.observe(
        ["50", Event(Item("51", "text"), "buy", NOW, "a"), Event("52", time=when)]
    )
    assert found == Observed(accepted=3, unknown=2, repeated=1)
    inputs = triton.inputs()
    assert inputs["ITEM"] == ("BYTES", [1, 3], ["50", "51", "52"])
    assert inputs["TIME"] == ("INT64", [1, 3], [0, NOW, NOW + 1])
    assert inputs["ACTION"] == ("BYTES", [1, 3], ["", "buy", ""])
    ids = inputs["EVENT_ID"][2]
    assert ids[1] == "a"
    assert len(set(ids)) == 3
    assert all(ids)


def test_requests_of_one_client_have_the_same_inputs(
    triton: Triton, client: RecommenderClient
) -> None:
    # So Triton may merge them.
    triton.answer = lambda _: numbers(1)
    client.observe(["50"])
    assert triton.inputs(0).keys() == {"ITEM", "TIME", "EVENT_ID"}
    client.observe([Event("50", "buy")])
    client.observe(["50"])
    assert (
        triton.inputs(1).keys() == triton.inputs(2).keys() == triton.inputs(0).keys() | {"ACTION"}
    )
    assert triton.inputs(2)["ACTION"][2] == [""]


def test_ids_that_are_made_up_differ_from_call_to_call(
    triton: Triton, client: RecommenderClient
) -> None:
    triton.answer = lambda _: numbers(1)
    for _ in range(3):
        client.observe(["50", "51"])
    made = [name for each in range(3) for name in triton.inputs(each)["EVENT_ID"][2]]
    assert len(set(made)) == 6


def test_many_events_are_several_requests(
    triton: Triton, client: RecommenderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "MOST_VALUES", 4)
    triton.answer = lambda request: numbers(request.inputs[0].shape[1])
    assert client.observe([str(each) for each in range(10)]) == Observed(10, 0, 0)
    sent = [triton.inputs(each)["ITEM"][2] for each in range(3)]
    assert sent == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]]
    triton.abort = (CODE.INVALID_ARGUMENT, "TIME[1] is 5000000000; send seconds")
    with pytest.raises(InvalidInput, match=r"events\[1\].time is 7") as caught:
        client.observe([Event("1", time=7)] * 10)
    assert caught.value.field == "events[1].time"


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ("50", "events"),
        (["50", 51], "events[1]"),
        ([""], "events[0]"),
        ([Event("50", action=1)], "events[0].action"),  # type: ignore[arg-type]
        ([Event("50", id=1)], "events[0].id"),  # type: ignore[arg-type]
        ([Event("50", time=1.5)], "events[0].time"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_event_is_refused(nowhere: RecommenderClient, events: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        nowhere.observe(events)
    assert caught.value.field == field


def test_a_model_without_a_trend_says_why(triton: Triton, client: RecommenderClient) -> None:
    triton.abort = (CODE.NOT_FOUND, "Request for unknown model: 'observe' is not found")
    with pytest.raises(ModelNotFound, match="train it on a log with times"):
        client.observe(["50"])


def test_an_answer_that_lacks_a_number_is_malformed(
    triton: Triton, client: RecommenderClient
) -> None:
    triton.answer = lambda _: respond(ACCEPTED=np.array([[1]], np.int32))
    with pytest.raises(MalformedResponse, match="UNKNOWN is missing"):
        client.observe(["50"])


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    running = [FakeServer(["a", "b"]) for _ in range(3)]
    for each in running:
        each.start()
    yield running
    for each in running:
        each.stop()


def told(client: RecommenderClient, event: Event) -> Observed | None:
    try:
        return client.observe([event])
    except Unavailable:  # gRPC remembers for a while that it could not connect
        return None


def ids(server: FakeServer) -> list[list[str]]:
    return [each.inputs["EVENT_ID"] for each in server.requests if each.model == "observe"]


def test_every_server_is_told(servers: list[FakeServer], connect: type[RecommenderClient]) -> None:
    with connect([each.address for each in servers], timeout=60) as client:
        for _ in range(2):
            assert client.observe(["a", "x"]) == Observed(1, 1, 0)
    assert ids(servers[0]) == ids(servers[1]) == ids(servers[2])
    assert len(ids(servers[0])) == 2


def test_a_server_that_fails_is_told_again_under_the_same_ids(
    servers: list[FakeServer], connect: type[RecommenderClient]
) -> None:
    servers[1].fail(CODE.UNAVAILABLE, times=2)
    with connect([each.address for each in servers], timeout=60, retry=EAGER) as client:
        assert client.observe(["a"]) == Observed(1, 0, 0)
    first, second, third = ids(servers[1])
    assert first == second == third == ids(servers[0])[0]


def test_where_one_is_gone_the_others_are_told(
    servers: list[FakeServer], connect: type[RecommenderClient]
) -> None:
    servers[1].stop()
    with connect([each.address for each in servers], timeout=60, retry=EAGER) as client:
        with pytest.raises(Unavailable):
            client.observe([Event("a", id="1")])
        assert [len(ids(each)) for each in servers] == [1, 0, 1]
        servers[1].start()
        until(lambda: told(client, Event("a", id="1")) == Observed(0, 0, 1))
        assert ids(servers[1]) == [["1"]]
        assert client.observe([Event("a", id="1")]) == Observed(0, 0, 1)


def test_a_ready_server_answers_for_no_events() -> None:
    with FakeServer(["a"]) as server, RecommenderClient(server.address, timeout=60) as client:
        assert client.ready(models=["observe"])
        (asked,) = server.requests
        assert asked.inputs == {"ITEM": []}


def test_a_failure_does_not_give_up_the_other_servers(
    servers: list[FakeServer], connect: type[RecommenderClient]
) -> None:
    servers[0].set_delay(0.3)
    servers[1].fail(CODE.PERMISSION_DENIED)
    with connect([each.address for each in servers], timeout=60) as client:
        with pytest.raises(PermissionDenied):
            client.observe(["a"])
        assert [len(ids(each)) for each in servers] == [1, 1, 1]
        assert servers[0].cancelled == 0
        servers[0].set_delay(0)
        name = ids(servers[0])[0][0]
        assert client.observe([Event("a", id=name)]) == Observed(0, 0, 1)
