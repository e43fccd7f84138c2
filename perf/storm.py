"""A load generator for more requests than a server can answer, which may fail.

One process and one event loop, with a deadline for each request, which Triton is told too, as the
client tells it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from perf.load import INFER

_CHANNELS: Final = 4
_WARM_UP: Final = 0.2
"""Of the time of a block: what is sent in it is not counted."""


@dataclass(frozen=True)
class Arrivals:
    """Requests of one kind.

    Attributes
    ----------
    rate
        Requests a second that are sent, whatever comes of the others.
    callers
        Callers that send their next request when the last one is over. One of the two is 0.
    deadline
        Seconds of each request.
    """

    requests: Sequence[bytes]
    deadline: float
    rate: float = 0
    callers: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of the requests of one kind.

    Attributes
    ----------
    ends
        gRPC status → requests a second that ended with it.
    latencies
        Seconds that good answers took, from when their requests were due.
    cpu
        Processor time of the generator, as a share of one core.
    seconds
        How long requests were counted.
    """

    ends: dict[str, float] = field(default_factory=dict)
    latencies: Sequence[float] = ()
    cpu: float = 0.0
    seconds: float = 0.0

    @property
    def numbers(self) -> dict[str, int]:
        """Requests that ended with each gRPC status."""
        return {code: round(rate * self.seconds) for code, rate in self.ends.items()}

    @property
    def good(self) -> float:
        return self.ends.get("OK", 0.0)

    def percentile(self, which: float) -> float | None:
        """Milliseconds; None where there were no good answers."""
        return float(np.percentile(self.latencies, which)) * 1e3 if self.latencies else None


def with_parameters(request: bytes, deadline: float, *, background: bool = False) -> bytes:
    """A ``ModelInferRequest`` that tells Triton how long its caller waits."""
    message: Any = service_pb2.ModelInferRequest.FromString(request)
    message.parameters["timeout"].int64_param = round(deadline * 1e6)
    if background:
        message.parameters["background"].bool_param = True
    return bytes(message.SerializeToString())


def answers(address: str, request: bytes) -> bool:
    """Whether a server answers a request within a second."""
    channel: Any = grpc.insecure_channel(address)
    with channel:
        try:
            channel.unary_unary(INFER)(request, timeout=1)
        except grpc.RpcError:
            return False
    return True


def storm(address: str, kinds: Sequence[Arrivals], seconds: float) -> list[Outcome]:
    """Send all kinds of requests at once; the outcomes of each."""
    return asyncio.run(_storm(address, kinds, seconds))


async def _storm(address: str, kinds: Sequence[Arrivals], seconds: float) -> list[Outcome]:
    channels: list[Any] = [
        grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(_CHANNELS)
    ]
    calls = [channel.unary_unary(INFER) for channel in channels]
    for call in calls:
        await call(kinds[0].requests[0], timeout=60)
    began, cpu = time.perf_counter(), time.process_time()
    counted = began + _WARM_UP * seconds, began + seconds
    found = await asyncio.gather(*(_send(calls, kind, began, counted) for kind in kinds))
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    for channel in channels:
        await channel.close()
    length = counted[1] - counted[0]
    return [
        Outcome({code: number / length for code, number in ends.items()}, latencies, share, length)
        for ends, latencies in found
    ]


async def _send(
    calls: Sequence[Any], kind: Arrivals, began: float, counted: tuple[float, float]
) -> tuple[Counter[str], list[float]]:
    ends: Counter[str] = Counter()
    latencies: list[float] = []

    async def one(number: int, due: float) -> None:
        code = "OK"
        try:
            await calls[number % len(calls)](
                kind.requests[number % len(kind.requests)], timeout=kind.deadline
            )
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        now = time.perf_counter()
        if counted[0] < now < counted[1]:
            ends[code] += 1
            if code == "OK":
                latencies.append(now - due)

    async def caller(number: int) -> None:
        while (now := time.perf_counter()) < counted[1]:
            await one(number, now)
            number += kind.callers

    if kind.callers:
        await asyncio.gather(*(caller(number) for number in range(kind.callers)))
        return ends, latencies
    running = set()
    for number in range(round(kind.rate * (counted[1] - began))):
        due = began + number / kind.rate
        # Where the generator is behind, answers are still read.
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(number, due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return ends, latencies
