"""Events as they happen, on a real server."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest

from builder.export import golden
from builder.repository import MANIFEST
from builder.repository.golden import DETAIL, GoldenOutput, GoldenRequest, golden_to_json
from builder.serving import TritonServer
from client import (
    AsyncRecommenderClient,
    Event,
    EventQueue,
    InvalidInput,
    ModelNotFound,
    Observed,
    RecommenderClient,
    RecommenderError,
)
from model_repository.core.contract import HISTORY, ITEM_LOGIT, RECOMMEND, TIME, TOP_K
from perf.errors import PerfError
from perf.processes import model_processes
from perf.republish import republish
from perf.serve import Served, served
from tests.integration.test_serving import traces, until
from tests.integration.test_steps import TIMEOUT
from tests.integration.tiny_repository import TREND_UNTIL, Layout, write_tiny_repository
from tests.shared import first_of, reached

LIFT = 100 * math.log(2)  # of one event that happened just now


@contextmanager
def running(
    repository: Path, events: Path | None = None
) -> Iterator[tuple[TritonServer, RecommenderClient]]:
    with (
        TritonServer(repository, metrics_port=0, events=events) as server,
        RecommenderClient(server.grpc_address, timeout=TIMEOUT) as client,
    ):
        yield server, client


def clock() -> float:
    return datetime.now(timezone.utc).timestamp()


def best(client: RecommenderClient, number: int = 1) -> tuple[str, ...]:
    return client.recommend([], top_k=number).ids


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_tiny_repository(tmp_path / "models", layout="fused", trend=True)
    return tmp_path / "models"


@pytest.mark.parametrize("layout", first_of(["fused", "ensemble"]))
def test_what_is_popular_changes_at_once_in_every_process(tmp_path: Path, layout: Layout) -> None:
    write_tiny_repository(tmp_path, layout=layout, trend=True)
    with running(tmp_path) as (server, client), ThreadPoolExecutor(8) as together:
        described = client.metadata(models=["recommend", "encode"]).models
        assert described["recommend"].trend_until == TREND_UNTIL
        assert described["encode"].trend_until is None
        # The log ended long ago, and what is popular is as of its end.
        before = client.recommend([], top_k=2)
        assert before.ids == ("i5", "i29")
        assert before.trend_time == TREND_UNTIL
        now = int(clock())
        assert client.observe(["i3", Event("i4", time=now), Event("x")]) == Observed(2, 1, 0)
        processes = [each for each, name in model_processes(server) if name.startswith("recommend")]
        assert len(processes) == 2
        switches = [each.num_ctx_switches().voluntary for each in processes]
        asked = [together.submit(client.recommend, [], top_k=3) for _ in range(200)]
        for each in asked:
            found = each.result()
            assert found.ids == ("i4", "i3", "i29")
            assert found.logits[:2] == pytest.approx([LIFT + 4, LIFT + 3], abs=0.2)
            assert found.trend_time is not None
            assert now <= found.trend_time <= clock()
        # Both of them answered.
        for process, earlier in zip(processes, switches, strict=True):
            assert process.num_ctx_switches().voluntary > earlier + 10
        ranked = client.rank([], ["i3", "i5", "i7"])
        assert ranked.logits[0] == pytest.approx(LIFT + 3, abs=0.2)
        assert ranked.logits[1:] == pytest.approx([5, 7])
        # A request for a time of the log gets what was exported.
        assert client.recommend([], top_k=2, time=1).logits == pytest.approx(before.logits)


def test_events_are_told_once_by_id_and_refused_by_name(repository: Path) -> None:
    with running(repository) as (server, client):  # which keeps no events
        now = int(clock())
        events = [Event("i3", time=now, id="1", action="buy"), Event("i4", time=now, id="2")]
        assert client.observe(events) == Observed(2, 0, 0)
        before = client.rank([], ["i3", "i4"], time=now).logits.tolist()
        assert client.observe([*events, Event("i9", time=now, id="1")]) == Observed(0, 0, 3)
        with pytest.raises(InvalidInput, match=r"events\[1\].time .*divide by 1000") as caught:
            client.observe(["i3", Event("i3", time=now * 1000)])
        assert caught.value.field == "events[1].time"
        with pytest.raises(InvalidInput, match="seconds ahead of the server's clock"):
            client.observe([Event("i3", time=now + 3_000)])
        assert client.rank([], ["i3", "i4"], time=now).logits.tolist() == before
        # One that comes late counts by its time.
        assert client.observe([Event("i6", time=now - 3_600)]) == Observed(1, 0, 0)
        (late,) = client.rank([], ["i6"], time=now).logits
        assert late == pytest.approx(6 + 100 * math.log1p(math.exp(-1)), abs=0.2)
        assert client.observe([]) == Observed(0, 0, 0)
        many = [Event("i1", id=str(each)) for each in range(100, 12_100)]
        assert client.observe(many) == Observed(12_000, 0, 0)
        assert client.observe(many) == Observed(0, 0, 12_000)
        expected = {
            "accepted": 12_003, "repeated": 12_003, "unknown": 0, "not_kept": 12_003
        }  # fmt: skip
        assert reached(lambda: events_counted(server), expected) == expected
        assert metric(server, "tritonrec_trend_time") >= now


def events_counted(server: TritonServer) -> dict[str, int]:
    return {
        each: int(metric(server, f"tritonrec_events_{each}"))
        for each in ("accepted", "repeated", "unknown", "not_kept")
    }


def metric(server: TritonServer, name: str) -> float:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://{server.metrics_address}/metrics") as response:
        text = response.read().decode()
    (found,) = re.findall(rf"^{name}\{{.*\}} (\S+)$", text, re.MULTILINE)
    return float(found)


@pytest.mark.sweep  # below, one under `serve` does
def test_a_restart_keeps_events(repository: Path, tmp_path: Path) -> None:
    kept = tmp_path / "somewhere" / "events"
    with running(repository, kept) as (_, client):
        client.observe([Event("i3", id="1")])
        assert best(client) == ("i3",)
    with running(repository, kept) as (server, client):
        assert best(client) == ("i3",)
        assert client.observe([Event("i4", id="1")]) == Observed(0, 0, 1)
        identity = server.identity
    assert traces(identity) == []
    with running(repository) as (_, client):
        assert best(client) == ("i5",)


@pytest.mark.sweep
def test_every_server_is_told(repository: Path) -> None:
    with (
        running(repository) as (one, first),
        running(repository) as (other, second),
        RecommenderClient([one.grpc_address, other.grpc_address], timeout=TIMEOUT) as client,
    ):
        assert client.observe(["i3", "i3"]) == Observed(2, 0, 0)
        assert best(first) == best(second) == ("i3",)

        async def tell() -> Observed:
            async with AsyncRecommenderClient(
                [one.grpc_address, other.grpc_address], timeout=TIMEOUT
            ) as another:
                return await another.observe(["i4"] * 3)

        assert asyncio.run(tell()) == Observed(3, 0, 0)
        assert best(first, 2) == best(second, 2) == ("i4", "i3")


def test_a_model_without_a_trend_takes_no_events(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout="fused")
    with running(tmp_path) as (_, client):
        with pytest.raises(ModelNotFound, match="does not ask what is popular, and takes no"):
            client.observe(["i3"])
        assert client.recommend([]).trend_time is None


@pytest.fixture
def published(repository: Path, tmp_path: Path) -> Path:
    """With golden requests, as an export has them."""
    place = tmp_path / "published" / "models"
    place.parent.mkdir()
    republish(repository, place)
    requests = [
        GoldenRequest(
            RECOMMEND.name,
            {HISTORY.name: [[]]},
            {ITEM_LOGIT.name: GoldenOutput((1, 2), (LIFT + 5, 29))},
            {TOP_K.name: 2, TIME.name: 1},
        ),
        golden.of_no_events(),
    ]
    manifest = place / MANIFEST
    document = json.loads(manifest.read_text())
    document["versions"]["1"]["details"][DETAIL] = golden_to_json(requests)
    manifest.write_text(json.dumps(document))
    return place


def asked(server: Served) -> int:
    """How often `serve` has found that models answer right."""
    found = re.search(r'^tritonrec_model_ready\{model="observe"\} (\d)$', server.get("/metrics")[1],
                      re.MULTILINE)  # fmt: skip
    assert found is not None
    return int(found[1])


def test_serve_is_not_fooled_by_events_and_keeps_them(published: Path) -> None:
    with served(published) as server, RecommenderClient(server.address, timeout=5) as client:
        client.observe(["i3"] * 50)
        assert best(client) == ("i3",)
        time.sleep(3)  # golden requests are asked each second, and two wrong answers are too many
        assert server.restarts == 0
        assert asked(server) == 1
        with EventQueue(client) as events:
            os.kill(server.processes()["observe"], signal.SIGKILL)
            for _ in range(60):
                events.add("i4")
            assert until(lambda: events.sent == 60, 60), server.printed
        assert (events.sent, events.lost) == (60, 0)
        assert server.restarts == 1
        assert "the process of observe" in server.printed
        assert until(lambda: lists(client) == ("i4", "i3")), lists(client)
        assert (published.parent / "models.events" / "journal").exists()
        identity = server.identity()
        assert server.end() == 0
    assert traces(identity) == []
    with served(published) as server, RecommenderClient(server.address, timeout=5) as client:
        assert best(client, 2) == ("i4", "i3")
        # Told again, and by nobody else.
        assert client.observe([]) == Observed(0, 0, 0)


def lists(client: RecommenderClient) -> tuple[str, ...]:
    try:
        return best(client, 2)
    except RecommenderError as error:
        return (str(error),)


def test_a_directory_that_cannot_be_made_is_named(published: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(PerfError, match=r"--events .* cannot be made: .*name another directory"),
        served(published, "--events", str(tmp_path / "file" / "events")),
    ):
        pass
