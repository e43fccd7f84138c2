"""What each model of a request costs, from Triton's own statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc


@dataclass(frozen=True, slots=True)
class StepCost:
    """Mean milliseconds a request spends in a model, and how many requests an execution takes.

    ``transfer`` is what Triton counts as computing input and output: for a Python model, the way of
    the tensors to its process and back.
    """

    model: str
    requests: int
    queue: float
    transfer: float
    compute: float
    requests_per_execution: float


def read_statistics(address: str) -> dict[str, Any]:
    """Return the counters of every model of a server at host:port."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelStatistics(service_pb2.ModelStatisticsRequest(), timeout=10)
    return {model.name: model for model in answer.model_stats}


def step_costs(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[StepCost]:
    """Return what happened between two readings, of the models that were asked."""
    costs = (_cost(name, before[name], now) for name, now in after.items())
    return [cost for cost in costs if cost is not None]


def _cost(name: str, then: Any, now: Any) -> StepCost | None:
    requests = now.inference_stats.success.count - then.inference_stats.success.count
    executions = now.execution_count - then.execution_count
    if not requests:
        return None

    def mean(duration: str) -> float:
        first, last = (getattr(each.inference_stats, duration).ns for each in (then, now))
        return float((last - first) / requests / 1e6)

    return StepCost(
        name,
        requests,
        mean("queue"),
        mean("compute_input") + mean("compute_output"),
        mean("compute_infer"),
        requests / executions if executions else 0.0,
    )
