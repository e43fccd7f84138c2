"""Cost of the requests of a block: processor time, and executions of the networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from perf.errors import PerfError
from perf.measurement import Measurement
from perf.processes import server_processes
from perf.steps import read_statistics


def with_usage(
    address: str, model: str, measure: Callable[[float], Measurement], seconds: float
) -> Measurement:
    """Measure a block, and add to it what each request of ``model`` cost the server at host:port.

    All requests between the two readings count, those of a load generator's warm-up too. The
    figures stay None where they cannot be read: the processor time of a server that
    `builder.serving` did not start on this machine, the executions of models that it does not have.

    Raises
    ------
    PerfError
        ``model`` answered nothing.
    """
    then, cpu_then = read_statistics(address), _cpu_seconds(address)
    measured = measure(seconds)
    cpu_now, now = _cpu_seconds(address), _settled_statistics(address)

    def counted(name: str, counter: str) -> int | None:
        if name not in now:
            return None
        return int(getattr(now[name], counter)) - int(getattr(then[name], counter))

    requests = now[model].inference_stats.success.count - then[model].inference_stats.success.count
    if not requests:
        raise PerfError(f"the model {model!r} at {address} answered no request")
    executions = counted("user_encoder", "execution_count")
    users = counted("user_encoder", "inference_count")
    encodings = counted("encoder", "execution_count")
    return replace(
        measured,
        cpu=None if cpu_now is None or cpu_then is None else (cpu_now - cpu_then) / requests * 1e3,
        users_per_execution=users / executions if users and executions else None,
        encoder_executions=None if encodings is None else encodings / requests,
    )


def _settled_statistics(address: str) -> dict[str, Any]:
    """Statistics once two readings agree: Triton counts a batch after its answers have left.

    Where others ask the server too, they never agree; then those of a second later.
    """
    now = read_statistics(address)
    for _ in range(10):
        time.sleep(0.1)
        before, now = now, read_statistics(address)
        if now == before:
            break
    return now


def _cpu_seconds(address: str) -> float | None:
    """Processor time of all processes of the server at host:port since it was started."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        identity = stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=10).name
    processes = server_processes(identity)
    # A server that was started otherwise has a name that says nothing, such as "triton".
    if not any(f"--id={identity}" in each.info["cmdline"] for each in processes):
        return None
    times = [each.info["cpu_times"] for each in processes]
    return float(sum(time.user + time.system for time in times))
