"""The Python load generator, for what perf_analyzer cannot drive: peers, and mixed traffic.

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
import numpy as np
import tritonclient.grpc as triton

from perf.analyzer import Entry
from perf.errors import PerfError
from perf.measurement import Measurement, from_latencies

Call = Callable[[int], object]
"""Sends the n-th request and waits for its answer."""

TIMEOUT: Final = 60.0
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"


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
    answers: list[tuple[float, float]] = []  # when, and after how long

    def work(call: Call) -> None:
        while not load.over.is_set():
            began = time.perf_counter()
            call(next(numbers))
            ended = time.perf_counter()
            answers.append((ended, ended - began))

    load = _Clients(connect, clients, lambda: next(numbers), work)
    load.warm_up()
    began = time.perf_counter()
    load.over.wait(seconds)
    end = time.perf_counter()
    load.over.set()
    load.join()
    within = [latency for moment, latency in answers if began <= moment <= end]
    if within:
        return from_latencies(within, end - began)
    late = sorted(answers)
    return from_latencies([latency for _, latency in late], late[-1][0] - began)


def open_loop(
    connect: Callable[[], Call], due: Sequence[float], clients: int
) -> tuple[list[float], float]:
    """Send request n at ``due[n]`` seconds, whether or not those before it have been answered.

    Latencies count from then on, not from when one of the ``clients`` was free to send, so that a
    server that falls behind is not spared. Before the clock starts each client sends one more
    request, of number ``len(due)``.

    Returns
    -------
    latencies, wall
        Seconds that each request took, and seconds until all were answered.

    Raises
    ------
    PerfError
        A request failed.
    """
    numbers = iter(range(len(due)))
    latencies = [0.0] * len(due)
    clock_runs = threading.Event()
    began = 0.0

    def work(call: Call) -> None:
        clock_runs.wait()
        for number in numbers:
            moment = began + due[number]
            if load.over.wait(max(0.0, moment - time.perf_counter())):
                return
            call(number)
            latencies[number] = time.perf_counter() - moment

    load = _Clients(connect, clients, lambda: len(due), work)
    load.warm_up()
    began = time.perf_counter()
    clock_runs.set()
    load.join()
    return latencies, time.perf_counter() - began


class _Clients:
    """Threads with a connection each, which send a first request and then ``work``.

    ``over`` tells them to end; it is set when a request failed, too.
    """

    def __init__(
        self,
        connect: Callable[[], Call],
        clients: int,
        first: Callable[[], int],
        work: Callable[[Call], None],
    ) -> None:
        self.over = threading.Event()
        self._warm = threading.Semaphore(0)
        self._failures: list[Exception] = []

        def client() -> None:
            try:
                call = connect()
                call(first())
                self._warm.release()
                work(call)
            except Exception as error:  # noqa: BLE001  (raised by the caller's thread)
                self._failures.append(error)
                self.over.set()
                self._warm.release()

        self._threads = [threading.Thread(target=client) for _ in range(clients)]

    def warm_up(self) -> None:
        """Start them, and wait until each has had its first answer."""
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            self._warm.acquire()

    def join(self) -> None:
        """Wait for their end; raises PerfError where a request failed."""
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise PerfError(f"a request failed: {self._failures[0]}") from self._failures[0]


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
        method = channel.unary_unary(INFER)
        return lambda number: method(requests[number % len(requests)], timeout=TIMEOUT)

    return connect


def infer_request(model: str, entry: Entry, *, batched: bool = False) -> bytes:
    """Return the bytes of a ``ModelInferRequest`` for `triton_infer`."""
    from tritonclient.grpc._utils import _get_inference_request

    inputs = []
    for name, values in entry.items():
        array = np.array([str(value).encode() for value in values], np.object_)
        array = array.reshape((-1, 1) if batched else (1, -1))
        inputs.append(triton.InferInput(name, list(array.shape), "BYTES"))
        inputs[-1].set_data_from_numpy(array)
    request = _get_inference_request(
        model_name=model, inputs=inputs, model_version="", request_id="", outputs=None,
        sequence_id=0, sequence_start=False, sequence_end=False, priority=0, timeout=None,
        parameters={"top_k": 10} if model == "recommend" else {},
    )  # fmt: skip
    return bytes(request.SerializeToString())
