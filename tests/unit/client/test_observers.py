"""Hooks, request ids, spans and measurements."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import client as package
from client import Hedge, InvalidInput, Overloaded, RecommenderClient, ResponseInfo, Retry
from client.otel import OpenTelemetry
from client.testing import FakeServer
from tests.unit.client.conftest import Triton

PATIENT = 60


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["a", "b"]) as running:
        yield running


def test_the_hook_sees_every_request(server: FakeServer, connect: type[RecommenderClient]) -> None:
    seen: list[ResponseInfo] = []
    server.fail(grpc.StatusCode.UNAVAILABLE)
    with connect(server.address, timeout=PATIENT, on_response=seen.append) as client:
        client.recommend(["a"], request_id="mine")
        server.fail(grpc.StatusCode.RESOURCE_EXHAUSTED)
        with pytest.raises(Overloaded) as caught:
            client.rank([], ["a"])
    good, bad = seen
    assert (good.procedure, good.model, good.request_id) == ("ModelInfer", "recommend", "mine")
    assert (good.attempts, good.hedges, good.server) == (2, 0, server.address)
    assert good.error is None
    assert 0 < good.seconds < PATIENT
    assert bad.error is caught.value
    assert bad.request_id == caught.value.request_id != ""


def test_hedges_are_told(server: FakeServer, connect: type[RecommenderClient]) -> None:
    seen: list[ResponseInfo] = []
    server.set_delay(0.1)
    with connect(
        server.address, timeout=PATIENT, on_response=seen.append, hedge=Hedge(after=0.01)
    ) as client:
        client.recommend([])
    assert (seen[0].attempts, seen[0].hedges) == (2, 1)


def test_the_answers_parameters_are_there(triton: Triton, connect: type[RecommenderClient]) -> None:
    seen: list[ResponseInfo] = []

    def answer(request: Any) -> Any:
        response = type(triton).answer(request)
        response.parameters["queue_us"].int64_param = 7
        return response

    triton.answer = answer
    with connect(triton.address, timeout=PATIENT, on_response=seen.append) as client:
        client.rank([], ["a"])
    assert seen[0].parameters == {"queue_us": 7}


def test_a_hook_that_fails_does_no_harm(
    server: FakeServer, connect: type[RecommenderClient], caplog: pytest.LogCaptureFixture
) -> None:
    def hook(_: object) -> None:
        raise RuntimeError("broken hook")

    with connect(server.address, timeout=PATIENT, on_response=hook) as client:
        assert len(client.recommend([])) == 2
    assert "broken hook" in caplog.text


def test_request_ids_are_made_up_and_differ(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    with connect(server.address, timeout=PATIENT) as client:
        for _ in range(3):
            client.recommend([])
        client.recommend([], request_id="given")
        with pytest.raises(InvalidInput, match="request_id"):
            client.recommend([], request_id=5)  # type: ignore[arg-type]
    ids = [request.id for request in server.requests]
    assert len(set(ids)) == 4
    assert all(ids)
    assert ids[3] == "given"


def test_retries_are_logged(
    server: FakeServer, connect: type[RecommenderClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, package.__name__)
    server.fail(grpc.StatusCode.UNAVAILABLE)
    with connect(server.address, timeout=PATIENT, retry=Retry(initial_backoff=0)) as client:
        client.recommend([], request_id="seen")
    (record,) = [each for each in caplog.records if each.name.startswith(package.__name__)]
    assert "seen: attempt 1 at localhost" in record.message
    assert "UNAVAILABLE" in record.message


class TestOpenTelemetry:
    @pytest.fixture
    def telemetry(self) -> Iterator[OpenTelemetry]:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        meters = MeterProvider([self.reader])
        yield OpenTelemetry(self.tracers, meters)
        meters.shutdown()
        self.tracers.shutdown()

    def test_a_span_continues_the_callers_trace_and_travels(
        self, telemetry: OpenTelemetry, server: FakeServer, connect: type[RecommenderClient]
    ) -> None:
        with connect(server.address, timeout=PATIENT, observers=[telemetry]) as client:
            client.recommend([], request_id="mine")
        (span,) = self.exporter.get_finished_spans()
        assert span.name == "ModelInfer recommend"
        assert span.kind is trace.SpanKind.CLIENT
        assert span.attributes is not None
        assert span.attributes["triton.request_id"] == "mine"
        assert span.attributes["server.address"] == server.address
        trace_id = trace.format_trace_id(span.context.trace_id)
        span_id = trace.format_span_id(span.context.span_id)
        sent = server.requests[0].metadata["traceparent"]
        assert sent.startswith(f"00-{trace_id}-{span_id}-0")

    def test_the_callers_span_is_the_parent(
        self, telemetry: OpenTelemetry, server: FakeServer
    ) -> None:
        from client import RecommenderClient

        tracer = self.tracers.get_tracer("service")
        with (
            RecommenderClient(server.address, timeout=PATIENT, observers=[telemetry]) as client,
            tracer.start_as_current_span("handler") as handler,
        ):
            client.recommend([])
        span, _ = self.exporter.get_finished_spans()
        assert span.parent is not None
        assert span.parent.span_id == handler.get_span_context().span_id

    def test_it_is_the_parent_of_each_part_too(
        self, telemetry: OpenTelemetry, triton: Triton
    ) -> None:
        from client import RecommenderClient

        triton.limit = 1
        tracer = self.tracers.get_tracer("service")
        with (
            RecommenderClient(triton.address, timeout=PATIENT, observers=[telemetry]) as client,
            tracer.start_as_current_span("handler") as handler,
        ):
            client.encode(["a", "b", "c"])
            list(client.recommend_many([[], []]))
        *spans, _ = self.exporter.get_finished_spans()
        assert len(spans) == 6  # the limits are asked for, too
        parents = {None if span.parent is None else span.parent.span_id for span in spans}
        assert parents == {handler.get_span_context().span_id}

    def test_each_request_of_a_call_has_headers_of_its_own(
        self, telemetry: OpenTelemetry, server: FakeServer
    ) -> None:
        from client import RecommenderClient

        seen: list[ResponseInfo] = []
        with RecommenderClient(
            server.address, timeout=PATIENT, observers=[telemetry], on_response=seen.append
        ) as client:
            client.metadata(models=["rank", "recommend"])
        assert {info.attempts for info in seen} == {1}
        assert len({info.request_id for info in seen}) == len(seen) == 5

    def test_errors_and_measurements(
        self, telemetry: OpenTelemetry, server: FakeServer, connect: type[RecommenderClient]
    ) -> None:
        server.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        with connect(server.address, timeout=PATIENT, observers=[telemetry]) as client:
            with pytest.raises(Overloaded):
                client.recommend([])
            client.recommend([])
        failed, good = self.exporter.get_finished_spans()
        assert failed.status.status_code is trace.StatusCode.ERROR
        assert failed.attributes is not None
        assert failed.attributes["error.type"] == "Overloaded"
        assert good.status.status_code is trace.StatusCode.UNSET
        measured = self.reader.get_metrics_data()
        assert measured is not None
        metrics = measured.resource_metrics[0].scope_metrics[0].metrics
        durations = next(each for each in metrics if each.name == "rpc.client.duration")
        points: list[Any] = list(durations.data.data_points)
        assert sum(point.count for point in points) == 2
        assert {point.attributes.get("error.type") for point in points} == {None, "Overloaded"}
