"""OpenTelemetry: a span and measurements for every request (``pip install 'tritonrec[otel]'``).

>>> from client import RecommenderClient
>>> from client.otel import OpenTelemetry
>>> client = RecommenderClient(observers=[OpenTelemetry()])  # doctest: +SKIP

The trace context goes along as W3C headers, which Triton continues when it is started with
``--trace-config mode=opentelemetry``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from client.observers import Observation, ResponseInfo

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError(
        "client.otel needs OpenTelemetry's API; install it with: pip install 'tritonrec[otel]'"
    ) from error

_SCOPE: Final = "tritonrec.client"
_SYSTEM: Final = {"rpc.system": "grpc", "rpc.service": "inference.GRPCInferenceService"}


class OpenTelemetry:
    """An observer: spans named after procedure and model, a histogram of their seconds.

    Parameters
    ----------
    tracer_provider, meter_provider
        The process's own by default.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._seconds = meter.create_histogram(
            "rpc.client.duration", unit="s", description="Seconds a request took, with its retries"
        )
        self._attempts = meter.create_histogram(
            "rpc.client.attempts", unit="1", description="Requests sent for one answer"
        )
        self._propagator = TraceContextTextMapPropagator()

    def start(self, procedure: str, model: str, request_id: str) -> Observation:
        # The caller's span is the parent; this one is not made current, since a plan may be
        # carried out by another thread or task than the one that began it.
        span = self._tracer.start_span(
            f"{procedure} {model}".rstrip(),
            kind=SpanKind.CLIENT,
            attributes={
                **_SYSTEM,
                "rpc.method": procedure,
                "triton.model": model,
                "triton.request_id": request_id,
            },
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=trace.set_span_in_context(span))
        return _Spanned(span, tuple(carrier.items()), self._seconds, self._attempts)


@dataclass(frozen=True, slots=True)
class _Spanned:
    span: Span
    headers: Sequence[tuple[str, str]]
    seconds: Histogram
    attempts: Histogram

    def end(self, info: ResponseInfo) -> None:
        error = "" if info.error is None else type(info.error).__name__
        labels = {**_SYSTEM, "rpc.method": info.procedure, "triton.model": info.model}
        if error:
            labels["error.type"] = error
        self.span.set_attributes(
            {
                "server.address": info.server,
                "tritonrec.attempts": info.attempts,
                "tritonrec.hedges": info.hedges,
            }
        )
        if info.error is not None:
            self.span.set_attribute("error.type", error)
            self.span.set_status(Status(StatusCode.ERROR, str(info.error)))
        self.span.end()
        self.seconds.record(info.seconds, labels)
        self.attempts.record(info.attempts, labels)
