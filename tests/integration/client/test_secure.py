"""The client and a real tritonserver that serves TLS and sends spans."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from opentelemetry.sdk.trace import TracerProvider

from builder.serving import ServerTls, TritonServer
from client import AsyncRecommenderClient, RecommenderClient, Retry, Tls, Unavailable
from client.otel import OpenTelemetry

PATIENT = 60


@dataclass
class Collector:
    """Takes spans as OpenTelemetry's collector does, over HTTP."""

    url: str = ""
    spans: list[dict[str, Any]] = field(default_factory=list)

    def of_trace(self, trace_id: int, count: int) -> list[dict[str, Any]]:
        """Wait for that many spans of the trace, and return those that came."""
        end = time.monotonic() + PATIENT / 3
        while True:
            found = [span for span in self.spans if int(span["traceId"], 16) == trace_id]
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.05)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    collector.spans += scope["spans"]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        yield collector
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and what it issued to the server and to the client."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name in ("127.0.0.1", "client"):
        issued = authority.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
        issued.private_key_pem.write_to_path(directory / f"{name}.key")
    return directory


@pytest.fixture(scope="module")
def secure(tiny_repository: Path, files: Path, collector: Collector) -> Iterator[TritonServer]:
    own = ServerTls(files / "127.0.0.1.pem", files / "127.0.0.1.key", files / "ca.pem", mutual=True)
    with TritonServer(tiny_repository, tls=own, trace_url=collector.url) as server:
        yield server


@pytest.fixture
def tls(files: Path) -> Tls:
    return Tls(files / "ca.pem", files / "client.pem", files / "client.key")


def test_a_client_with_a_certificate_is_let_in(secure: TritonServer, tls: Tls) -> None:
    with RecommenderClient(secure.grpc_address, timeout=PATIENT, tls=tls) as client:
        assert client.rank(["i1"], ["i7"]).logits.tolist() == [7]

    async def ask() -> list[float]:
        async with AsyncRecommenderClient(secure.grpc_address, timeout=PATIENT, tls=tls) as client:
            logits: list[float] = (await client.rank(["i1"], ["i7"])).logits.tolist()
            return logits

    assert asyncio.run(ask()) == [7]


def test_others_are_not(secure: TritonServer, files: Path, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    once = Retry(attempts=1)
    address = secure.grpc_address
    for wrong in (None, Tls(files / "ca.pem"), Tls(tmp_path / "stranger.pem")):
        with (
            RecommenderClient(address, timeout=PATIENT, tls=wrong, retry=once) as client,
            pytest.raises(Unavailable),
        ):
            client.rank(["i1"], ["i7"])


def test_triton_continues_the_trace(secure: TritonServer, tls: Tls, collector: Collector) -> None:
    provider = TracerProvider()
    with RecommenderClient(
        secure.grpc_address,
        timeout=PATIENT,
        tls=tls,
        observers=[OpenTelemetry(tracer_provider=provider)],
    ) as client:
        for _ in range(3):  # Triton drops spans that it cannot hand over soon, on a busy machine
            with provider.get_tracer("service").start_as_current_span("page") as page:
                client.rank(["i1"], ["i7"])
                client.encode(["toy"])
            spans = collector.of_trace(page.get_span_context().trace_id, count=8)
            if len(spans) >= 8:
                break
    names = [span["name"] for span in spans]
    assert names.count("compute") == 3  # rank; tokenizer, encoder
    assert {"InferRequest", "rank", "encode", "tokenizer", "encoder"} <= set(names)
