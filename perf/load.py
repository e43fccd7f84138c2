"""The Python load generator, for peers that perf_analyzer cannot drive.

Threads, each with a connection of its own, send bodies that were made beforehand and read the
answers without decoding them. ``python -m perf run`` checks it against perf_analyzer, on a server
that both can drive.
"""

from __future__ import annotations

import http
import http.client
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc

from perf.errors import PerfError
from perf.measurement import Measurement, from_latencies

Call = Callable[[int], object]
"""Sends the n-th request and waits for its answer."""

TIMEOUT: Final = 60.0
_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"


def closed_loop(connect: Callable[[], Call], clients: int, seconds: float) -> Measurement:
    """Measure ``clients`` that send their next request as soon as they have an answer.

    The clock starts when each of them has had one answer, and the load goes on beyond its end: what
    was under way at the start is counted and what is at the end is not, so that long requests are
    not at a disadvantage. Where nothing was answered in time, the first late answers count.

    Raises
    ------
    PerfError
        A request failed.
    """
    numbers = itertools.count()
    warm = threading.Semaphore(0)
    over = threading.Event()
    answers: list[tuple[float, float]] = []  # when, and after how long
    failures: list[Exception] = []

    def client() -> None:
        try:
            call = connect()
            call(next(numbers))
            warm.release()
            while not over.is_set():
                began = time.perf_counter()
                call(next(numbers))
                ended = time.perf_counter()
                answers.append((ended, ended - began))
        except Exception as error:  # noqa: BLE001  (raised by the caller's thread)
            failures.append(error)
            over.set()
            warm.release()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for _ in threads:
        warm.acquire()
    began = time.perf_counter()
    over.wait(seconds)
    end = time.perf_counter()
    over.set()
    for thread in threads:
        thread.join()
    if failures:
        raise PerfError(f"a request failed: {failures[0]}") from failures[0]
    within = [latency for moment, latency in answers if began <= moment <= end]
    if within:
        return from_latencies(within, end - began)
    late = sorted(answers)
    return from_latencies([latency for _, latency in late], late[-1][0] - began)


def http_post(address: str, path: str, bodies: Sequence[bytes]) -> Callable[[], Call]:
    """Return what connects to a server at host:port and then posts JSON bodies in turn."""

    def connect() -> Call:
        connection = http.client.HTTPConnection(address, timeout=TIMEOUT)

        def call(number: int) -> None:
            connection.request(
                "POST",
                path,
                bodies[number % len(bodies)],
                {"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise PerfError(f"{address}{path} answered {answer.status}: {content[:300]!r}")

        return call

    return connect


def triton_infer(address: str, requests: Sequence[bytes]) -> Callable[[], Call]:
    """Return what connects to Triton by gRPC and then sends ``ModelInferRequest`` in turn."""

    def connect() -> Call:
        # Channels with equal options share one connection unless told not to.
        channel: Any = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        method = channel.unary_unary(_INFER)
        return lambda number: method(requests[number % len(requests)], timeout=TIMEOUT)

    return connect
