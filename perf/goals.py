"""The goals of a run. A missed goal is reported, and nothing fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perf.measurement import Summary

Results = Mapping[str, Mapping[str, Summary]]
"""Case name → contender → what was measured."""


@dataclass(frozen=True, slots=True)
class Side:
    """One figure of one contender: ``rate`` is multiplied by the case's items a request."""

    case: str
    contender: str
    figure: str
    items: int = 1

    def value(self, results: Results) -> float | None:
        summary = results.get(self.case, {}).get(self.contender)
        if summary is None or not summary.has(self.figure):
            return None
        return summary.median(self.figure) * self.items


@dataclass(frozen=True, slots=True)
class Goal:
    """``ours`` over ``other``, or ``ours`` less ``other``, against a bound.

    ``other`` None: ``ours`` itself. ``at_least``: whether more is better.
    """

    text: str
    ours: Side
    other: Side | None
    bound: float
    at_least: bool = True
    difference: bool = False

    def value(self, results: Results) -> float | None:
        """The figure; None where the run did not measure both sides."""
        ours = self.ours.value(results)
        if self.other is None:
            return ours
        other = self.other.value(results)
        if ours is None or other is None:
            return None
        return ours - other if self.difference else ours / other

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


OURS = "tritonrec"
INT8 = "tritonrec INT8"
ENSEMBLE = "tritonrec ensemble"
ENGINE = "own engine in process"
INFINITY = "infinity"
LIBRARY = "sentence-transformers in process"
TWO_STEP = "infinity + FAISS"
CROSS_ENCODER = "CrossEncoder in process"
FLOOR = "empty model"
FLOOR_BATCHED = "empty model, batched"

ALONE = "known items alone"
BESIDE_TEXTS = "beside 10% with texts"
"""Of `recommend-mixed`, after the name of the system."""

CATALOGUE_CURVE = "catalogue-curve-"
"""Cases of `python -m perf catalogue`; the number of items follows."""
READING = "reading the vectors once"
EXACT = "exact search"
APPROXIMATE = "approximate search"
SERVED = "recommend over gRPC"
SERVED_APPROXIMATE = "recommend over gRPC, approximate"

_MILLION = f"{CATALOGUE_CURVE}1000000"

GOALS = (
    Goal(
        "encode, 128 texts a request: texts/s ÷ infinity's",
        Side("encode-128", OURS, "rate"), Side("encode-128", INFINITY, "rate"), 1.7,
    ),
    Goal(
        "encode, 128 texts a request, INT8: texts/s ÷ infinity's",
        Side("encode-128", INT8, "rate"), Side("encode-128", INFINITY, "rate"), 2.5,
    ),
    Goal(
        "encode, single texts, 16 clients: texts/s ÷ infinity's",
        Side("encode-16-clients", OURS, "rate"), Side("encode-16-clients", INFINITY, "rate"), 4,
    ),
    Goal(
        "encode, single texts, 16 clients: texts/s ÷ our own at 128 a request",
        Side("encode-16-clients", OURS, "rate"), Side("encode-128", OURS, "rate", 128), 0.6,
    ),
    Goal(
        "encode, one client, single text: p50 ÷ infinity's",
        Side("encode-1-client", OURS, "p50"), Side("encode-1-client", INFINITY, "p50"),
        1 / 3, at_least=False,
    ),
    Goal(
        "encode, 128 texts a request: through Triton ÷ in process",
        Side("encode-128", OURS, "rate"), Side("encode-128", ENGINE, "rate"), 0.92,
    ),
    Goal(
        "recommend, one client: p50 less that of an empty model, ms",
        Side("recommend-1-client", OURS, "p50"), Side("recommend-1-client", FLOOR, "p50"),
        0.8, at_least=False, difference=True,
    ),
    Goal(
        "recommend, one client: p50 of infinity + FAISS ÷ ours",
        Side("recommend-1-client", TWO_STEP, "p50"), Side("recommend-1-client", OURS, "p50"), 8,
    ),
    Goal(
        "recommend, saturated: requests/s ÷ an empty batched model's",
        Side("recommend-saturated", OURS, "rate"),
        Side("recommend-saturated", FLOOR_BATCHED, "rate"), 0.3,
    ),
    Goal(
        "recommend, 16 clients: CPU time of the ensemble ÷ of the fused layout",
        Side("recommend-16-clients", ENSEMBLE, "cpu"), Side("recommend-16-clients", OURS, "cpu"),
        2, at_least=False,
    ),
    Goal(
        "recommend, 16 clients, ensemble: users an execution of `user_encoder`",
        Side("recommend-16-clients", ENSEMBLE, "users_per_execution"), None, 4,
    ),
    Goal(
        "recommend of known items, ensemble: executions of `encoder` a request",
        Side("recommend-16-clients", ENSEMBLE, "encoder_executions"), None, 0, at_least=False,
    ),
    Goal(
        "rank, 100 known candidates: p50 ÷ recommend's",
        Side("rank-100-known", OURS, "p50"), Side("rank-100-known", f"{OURS} recommend", "p50"),
        1.3, at_least=False,
    ),
    Goal(
        "rank, 100 unseen texts: p50 of CrossEncoder.predict ÷ ours",
        Side("rank-100-unseen", CROSS_ENCODER, "p50"), Side("rank-100-unseen", OURS, "p50"), 15,
    ),
    Goal(
        "server start to ready: ms more than an empty model",
        Side("start", OURS, "p50"), Side("start", FLOOR, "p50"), 3000,
        at_least=False, difference=True,
    ),
    Goal(
        "exact search of 1,000,000 items: p50 ÷ reading their vectors once",
        Side(_MILLION, EXACT, "p50"), Side(_MILLION, READING, "p50"), 1.5, at_least=False,
    ),
    Goal(
        "search of 1,000,000 items: p50 of the exact ÷ of the approximate, recall@100 ≥ .99",
        Side(_MILLION, EXACT, "p50"), Side(_MILLION, APPROXIMATE, "p50"), 5,
    ),
)  # fmt: skip
