"""The client of a recommender served by Triton: numpy and gRPC, nothing else.

>>> from client import RecommenderClient
>>> with RecommenderClient("localhost:8001") as client:  # doctest: +SKIP
...     ranking = client.rank(["50", "172"], ["181", "1"])
...     best = ranking.sorted()[0]
"""

from __future__ import annotations

from client._deadlines import DEFAULT_TIMEOUT, NOT_GIVEN, NotGiven, Timeout
from client._inputs import OnUnknown
from client._sync import RecommenderClient
from client.errors import (
    Cancelled,
    ClientClosed,
    DeadlineExceeded,
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
from client.items import Event, Item
from client.results import Encoding, Ranking, Recommendations, ScoredItem

__all__ = [
    "DEFAULT_TIMEOUT",
    "NOT_GIVEN",
    "Cancelled",
    "ClientClosed",
    "DeadlineExceeded",
    "Encoding",
    "Event",
    "InferenceFailed",
    "InvalidInput",
    "Item",
    "MalformedResponse",
    "ModelNotFound",
    "NotGiven",
    "OnUnknown",
    "Overloaded",
    "PermissionDenied",
    "Ranking",
    "Recommendations",
    "RecommenderClient",
    "RecommenderError",
    "ScoredItem",
    "Timeout",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
]
