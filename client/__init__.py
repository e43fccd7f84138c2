"""The client of a recommender served by Triton: numpy and gRPC, nothing else.

>>> from client import RecommenderClient
>>> with RecommenderClient("localhost:8001") as client:  # doctest: +SKIP
...     ranking = client.rank(["50", "172"], ["181", "1"])
...     best = ranking.sorted()[0]

:class:`AsyncRecommenderClient` is the same for asyncio. :mod:`client.testing` has a server for the
tests of services, :mod:`client.otel` the OpenTelemetry observer.
"""

from __future__ import annotations

from client._async import AsyncRecommenderClient
from client._deadlines import DEFAULT_TIMEOUT, NOT_GIVEN, NotGiven, Timeout
from client._sync import RecommenderClient
from client.errors import (
    Cancelled,
    ClientClosed,
    ClientMisused,
    DeadlineExceeded,
    GeventWarning,
    InferenceFailed,
    InvalidInput,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    RecommenderError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from client.event_queue import EventQueue
from client.items import Event, Item, Profile
from client.observers import Observation, Observer, ResponseInfo
from client.policies import Balancing, Connection, Hedge, Retry, Tls
from client.results import (
    Answer,
    Classification,
    Encoding,
    ModelMetadata,
    ModelStatistics,
    Observed,
    Ranking,
    Reason,
    ReasonEvent,
    ReasonWord,
    Recommendations,
    ScoredItem,
    ServerMetadata,
    TensorMetadata,
    Times,
    Trace,
)
from client.sentences import Sentences
from model_repository.core.contract import Explore, OnUnknown

__all__ = [
    "DEFAULT_TIMEOUT",
    "NOT_GIVEN",
    "Answer",
    "AsyncRecommenderClient",
    "Balancing",
    "Cancelled",
    "Classification",
    "ClientClosed",
    "ClientMisused",
    "Connection",
    "DeadlineExceeded",
    "Encoding",
    "Event",
    "EventQueue",
    "Explore",
    "GeventWarning",
    "Hedge",
    "InferenceFailed",
    "InvalidInput",
    "Item",
    "MalformedResponse",
    "ModelMetadata",
    "ModelNotFound",
    "ModelStatistics",
    "NotGiven",
    "Observation",
    "Observed",
    "Observer",
    "OnUnknown",
    "Overloaded",
    "PermissionDenied",
    "Profile",
    "Ranking",
    "Reason",
    "ReasonEvent",
    "ReasonWord",
    "Recommendations",
    "RecommenderClient",
    "RecommenderError",
    "ResponseInfo",
    "Retry",
    "ScoredItem",
    "Sentences",
    "ServerMetadata",
    "TensorMetadata",
    "Timeout",
    "Times",
    "Tls",
    "Trace",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
]
